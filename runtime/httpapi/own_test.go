package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	ready := serve(t, httpapi.Config{})
	waiting := serve(t, httpapi.Config{
		NotReady:         func() []string { return []string{"app", "mesh"} },
		NotReadyOutbound: func() []string { return []string{"discovery"} },
	})
	for _, c := range []struct {
		addr, path string
		status     int
		body       string
	}{
		{ready, "/v1.0/healthz", 204, ""},
		{ready, "//v1.0/healthz/", 204, ""},
		{ready, "/v1.0/healthz?appid=todo-api", 204, ""},
		{ready, "/v1.0/healthz?appid=other", 500, `{"errorCode":"ERR_HEALTH_APPID_NOT_MATCH","message":"dapr app-id does not match"}`},
		{ready, "/v1.0/healthz?appid=", 500, `{"errorCode":"ERR_HEALTH_APPID_NOT_MATCH","message":"dapr app-id does not match"}`},
		{ready, "/v1.0/healthz/outbound", 204, ""},
		{ready, "/v1.0/healthz/x/../outbound/", 204, ""},
		{waiting, "/v1.0/healthz", 500, `{"errorCode":"ERR_HEALTH_NOT_READY","message":"dapr is not ready: [app mesh]"}`},
		{waiting, "/v1.0/healthz/outbound", 500, `{"errorCode":"ERR_OUTBOUND_HEALTH_NOT_READY","message":"dapr outbound is not ready"}`},
	} {
		if resp, body := ask(t, c.addr, get("GET", c.path)); resp.StatusCode != c.status || body != c.body {
			t.Errorf("%s: %d %s, want %d %s", c.path, resp.StatusCode, body, c.status, c.body)
		}
	}
	if resp, _ := ask(t, ready, get("POST", "/v1.0/healthz")); resp.StatusCode != 404 {
		t.Errorf("POST: %d, want Dapr's 404", resp.StatusCode)
	}
	// The header form never reaches a path of the sidecar's own.
	if resp, _ := ask(t, ready, get("GET", "/v1.0/healthz", "dapr-app-id: app")); resp.StatusCode != 204 {
		t.Errorf("health with dapr-app-id: %d", resp.StatusCode)
	}
}

func TestMetadataIsReadAndExtended(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{Metadata: func() httpapi.Metadata {
		return httpapi.Metadata{ID: "todo-api", RuntimeVersion: "1.2.3", App: httpapi.AppConnection{Port: 8000, Protocol: "http", ChannelAddress: "127.0.0.1"}}
	}})
	put := func(key, value string) int {
		resp, _ := ask(t, addr, "PUT /v1.0/metadata/"+key+" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"+chunk(value)+"0\r\n\r\n")
		return resp.StatusCode
	}
	if got := put("cli%50ID", "42"); got != 204 {
		t.Errorf("PUT: %d", got)
	}
	if got := put("big", strings.Repeat("x", 70_000)); got != 400 {
		t.Errorf("a value of 70,000 bytes: %d", got)
	}
	resp, body := ask(t, addr, get("GET", "/v1.0/metadata"))
	const want = `{"id":"todo-api","runtimeVersion":"1.2.3","extended":{"cliPID":"42","daprRuntimeVersion":"1.2.3"},"appConnectionProperties":{"port":8000,"protocol":"http","channelAddress":"127.0.0.1"},` +
		`"actorRuntime":{"runtimeStatus":"DISABLED","hostReady":false,"placement":"placement: disconnected"}}` + "\n"
	if resp.StatusCode != 200 || body != want {
		t.Errorf("%d %s\nwant %s", resp.StatusCode, body, want)
	}
}

func chunk(s string) string {
	const digits = "0123456789abcdef"
	size := ""
	for n := len(s); n > 0; n /= 16 {
		size = digits[n%16:n%16+1] + size
	}
	return size + "\r\n" + s + "\r\n"
}

func TestShutdownIsStop(t *testing.T) {
	t.Parallel()
	asked := make(chan bool, 1)
	addr := serve(t, httpapi.Config{Shutdown: func(now bool) { asked <- now }})
	for _, c := range []struct {
		lines []string
		now   bool
	}{{nil, false}, {[]string{"dapr-force-shutdown: true"}, true}} {
		if resp, _ := ask(t, addr, get("POST", "/v1.0/shutdown", c.lines...)); resp.StatusCode != 204 {
			t.Errorf("%d", resp.StatusCode)
		}
		if now := within.Receive(t, asked); now != c.now {
			t.Errorf("%q: now %v", c.lines, now)
		}
	}
	if resp, _ := ask(t, addr, get("GET", "/v1.0/shutdown")); resp.StatusCode != 404 {
		t.Errorf("GET: %d", resp.StatusCode)
	}
	if resp, _ := ask(t, addr, get("POST", "/v1.0/shutdown", "Origin: http://evil.example")); resp.StatusCode != 403 || len(asked) > 0 {
		t.Errorf("from a page: %d", resp.StatusCode)
	}
}

func TestTheAPILogHasEachRequestThatTheDoorAnswers(t *testing.T) {
	t.Parallel()
	calls := make(chan httpapi.APICall, 1)
	addr := serve(t, httpapi.Config{APILog: func(c httpapi.APICall) { calls <- c }, APIToken: "t", Invoke: invoke.HandlerFunc(reflectOrMiss)})
	for _, c := range []struct {
		text string
		want httpapi.APICall
	}{
		{get("GET", "/v1.0/healthz", "User-Agent: curl/8"), httpapi.APICall{Method: "GET /v1.0/healthz", Route: "Healthz", Health: true, Code: 204, UserAgent: "curl/8"}},
		{get("GET", "/v1.0/state/s/secret%20key", "User-Agent:", "dapr-api-token: t"), httpapi.APICall{Method: "GET /v1.0/state/s/secret key", Route: "GetState", Code: 500}},
		{get("DELETE", "/v1.0/actors/cat/1/method/m", "User-Agent:", "dapr-api-token: t"), httpapi.APICall{Method: "DELETE /v1.0/actors/cat/1/method/m", Route: "InvokeActor/cat.1", Code: 400}},
		{get("PUT", "/v1.0/invoke/nobody.ns/method/a%20b?secret=1", "User-Agent:", "dapr-api-token: t"), httpapi.APICall{Method: "PUT /v1.0/invoke/nobody.ns/method/a b", Route: "InvokeService/nobody.ns", Code: 500, Target: "nobody.ns"}},
		{get("GET", "/nobody", "User-Agent:", "dapr-api-token: t"), httpapi.APICall{Method: "GET /nobody", Route: "InvokeService", Code: 404}},
	} {
		_, body := ask(t, addr, c.text)
		var got httpapi.APICall
		select {
		case got = <-calls:
		case <-time.After(patience):
			t.Fatal("nothing was logged")
		}
		if got.Size != int64(len(body)) {
			t.Errorf("size %d, want %d", got.Size, len(body))
		}
		if strings.Contains(got.String(), "secret=1") || !strings.Contains(got.String(), `msg="HTTP API Called"`) {
			t.Errorf("line %s", got)
		}
		c.want.AppID, got.Size, got.Duration = got.AppID, 0, 0
		if got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
	if resp, _ := ask(t, addr, get("GET", callX, "dapr-api-token: t")); resp.StatusCode != 200 || len(calls) > 0 {
		t.Errorf("what the app answers is the tap's to log: %d", resp.StatusCode)
	}
	if resp, _ := ask(t, addr, get("GET", callX)); resp.StatusCode != 401 || len(calls) > 0 {
		t.Errorf("a 401 is not logged: %d", resp.StatusCode)
	}
}
