package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/httpapi"
)

var (
	noPage = said(404, "404 page not found\n", "Content-Length: 19", "Content-Type: text/plain; charset=utf-8", "X-Content-Type-Options: nosniff")
	only   = func(verbs string) string { return said(405, "", "Allow: "+verbs, "Content-Length: 0") }
)

func rules(rule ...string) []config.APIRule {
	var all []config.APIRule
	for _, r := range rule {
		version, name, _ := strings.Cut(r, "/")
		all = append(all, config.APIRule{Name: name, Version: version, Protocol: "http"})
	}
	return all
}

// An endpoint that is not offered is a path like any other: a call that names
// no app, or nothing at all where calls are not offered either.
func TestAllowAndDenyLists(t *testing.T) {
	t.Parallel()
	everything := serve(t, httpapi.Config{})
	noState := serve(t, httpapi.Config{APIs: config.APILists{Denied: rules("v1/state")}})
	noCalls := serve(t, httpapi.Config{APIs: config.APILists{Denied: rules("v1/invoke")}})
	onlyState := serve(t, httpapi.Config{APIs: config.APILists{Allowed: rules("v1.0/state")}})
	noID := noAppID(t, everything)
	noStore := rich(500, "ERR_STATE_STORE_NOT_CONFIGURED", "state store s is not configured", "DAPR_STATE_NOT_CONFIGURED", `{"appID":"todo-api"}`)
	for _, c := range []struct {
		about, addr, line string
		fields            []string
		want              string
	}{
		{"nothing denied", everything, "GET /v1.0/state/s/k", nil, noStore},
		{"denied", noState, "GET /v1.0/state/s/k", nil, noID},
		{"another version of it", noState, "POST /v1.0-alpha1/state/s/query", nil, noStore},
		{"another API", noState, "GET /v1.0/secrets/s/k", nil, basic(500, "ERR_SECRET_STORES_NOT_CONFIGURED", "secret store is not configured")},
		{"health is always offered", onlyState, "GET /v1.0/healthz", nil, empty},
		{"allowed", onlyState, "GET /v1.0/state/s/k", nil, noStore},
		{"not allowed", onlyState, "GET /v1.0/metadata", nil, noPage},
		{"no calls: by path", noCalls, "GET " + callX, nil, noPage},
		{"no calls: by field", noCalls, "GET /x", []string{"dapr-app-id: app"}, noPage},
		{"no calls: by host", noCalls, "GET http://app.localhost/x", nil, noPage},
		{"no calls: another verb", noCalls, "DELETE /v1.0/state/s", nil, only("POST, PUT")},
		{"no calls: another API", noCalls, "GET /v1.0/state/s/k", nil, noStore},
	} {
		if got := whole(t, c.addr, with(c.line, "", c.fields...)); got != c.want {
			t.Errorf("%s: %s\n got %q\nwant %q", c.about, c.line, got, c.want)
		}
	}
}

// Lists for HTTP do not speak of gRPC, which has its own.
func TestAListForHTTPLeavesGRPCCalls(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{APIs: config.APILists{Denied: rules("v1/invoke")}})
	if status := grpcOver(t, addr); status != 200 {
		t.Errorf("a gRPC call: %d", status)
	}
}

func TestThePublicPortOffersHealthAndMetadata(t *testing.T) {
	t.Parallel()
	var logged bool
	cfg := httpapi.Config{APIToken: "t", APILog: func(httpapi.APICall) { logged = true }, NotReady: func() []string { return []string{"app"} }}
	addr := servePublic(t, cfg)
	for line, want := range map[string]string{
		"GET /v1.0/healthz":          basic(500, "ERR_HEALTH_NOT_READY", "dapr is not ready: [app]"),
		"GET /v1.0/healthz/outbound": empty,
		"PUT /v1.0/metadata/k":       empty,
		"GET /v1.0/state/s/k":        noPage,
		"POST /v1.0/shutdown":        noPage,
		"GET " + callX:               noPage,
		"POST /v1.0/healthz":         only("GET"),
	} {
		if got := whole(t, addr, with(line, "")); got != want {
			t.Errorf("%s\n got %q\nwant %q", line, got, want)
		}
	}
	if got := whole(t, addr, with("GET /x", "", "dapr-app-id: app")); got != noPage {
		t.Errorf("a call by field: %q", got)
	}
	if status := grpcOver(t, addr); status != 404 {
		t.Errorf("a gRPC call: %d", status)
	}
	if logged {
		t.Error("the API log has a line about the public port")
	}
}

// Without HTTP/2 in clear text the door is one of HTTP/1.1.
func TestWithoutH2C(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(*testing.T, httpapi.Config) string{"door": serve, "HTTP/1 only": serveHTTP1} {
		addr := serve(t, httpapi.Config{})
		if got := whole(t, addr, with("GET /v1.0/healthz", "")); got != empty {
			t.Errorf("%s: HTTP/1.1: %q", name, got)
		}
		if _, err := overHTTP2(t, "GET", "http://"+addr+"/v1.0/healthz"); (err == nil) != (name == "door") {
			t.Errorf("%s: HTTP/2: %v", name, err)
		}
	}
}

func servePublic(t *testing.T, cfg httpapi.Config) string {
	t.Helper()
	return serveAs(t, cfg, (*httpapi.Server).ServePublic)
}

func serveHTTP1(t *testing.T, cfg httpapi.Config) string {
	t.Helper()
	return serveAs(t, cfg, (*httpapi.Server).ServeHTTP1)
}

// overHTTP2 is the status of a request by HTTP/2.
func overHTTP2(t *testing.T, method, url string, fields ...string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := client(t, 2).Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func grpcOver(t *testing.T, addr string) int {
	t.Helper()
	status, err := overHTTP2(t, "POST", "http://"+addr+"/a.B/C", "Content-Type", "application/grpc", "dapr-app-id", "app")
	if err != nil {
		t.Fatal(err)
	}
	return status
}
