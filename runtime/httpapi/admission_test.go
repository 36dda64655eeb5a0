package httpapi_test

import (
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/httpapi"
)

const callX = "/v1.0/invoke/app/method/x"

// What any page in the user's browser can send, and what it can only send from
// an origin it was served by.
func TestWebPagesCannotUseTheDoor(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{HostName: "box.lan"})
	widened := serve(t, httpapi.Config{
		AllowedOrigins: []string{"https://app.example,https://*.team.example"},
		AllowedHosts:   []string{"pillion.test:3500"},
	})
	for name, c := range map[string]struct {
		method string
		lines  []string
		denied bool // by the default door
		wide   bool // denied by the widened one
	}{
		"curl":                            {"POST", []string{"Host: 127.0.0.1:3500"}, false, false},
		"IPv6 address":                    {"POST", []string{"Host: [::1]:3500"}, false, false},
		"own name":                        {"POST", []string{"Host: Box:3500"}, false, true},
		"localhost with dot":              {"POST", []string{"Host: localhost.:3500"}, false, false},
		"DNS rebinding":                   {"POST", []string{"Host: evil.example:3500"}, true, true},
		"DNS rebinding, same origin":      {"POST", []string{"Host: evil.example", "Origin: http://evil.example", "Sec-Fetch-Site: same-origin"}, true, true},
		"DNS rebinding with our header":   {"POST", []string{"Host: evil.example", "dapr-app-id: app"}, true, true},
		"almost localhost":                {"POST", []string{"Host: localhost.evil.example"}, true, true},
		"no-cors POST":                    {"POST", []string{"Host: localhost", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, true, true},
		"text/plain form":                 {"POST", []string{"Host: localhost", "Origin: http://evil.example", "Content-Type: text/plain"}, true, true},
		"sandboxed frame":                 {"POST", []string{"Host: localhost", "Origin: null"}, true, true},
		"image without Origin":            {"GET", []string{"Host: localhost", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, true, true},
		"neighbour on another port":       {"GET", []string{"Host: localhost", "Sec-Fetch-Site: same-site"}, true, true},
		"origin that begins like ours":    {"POST", []string{"Host: localhost", "Origin: http://localhost.evil.example"}, true, true},
		"origin with our address in it":   {"POST", []string{"Host: localhost", "Origin: http://127.0.0.1.evil.example"}, true, true},
		"preflight":                       {"OPTIONS", []string{"Host: localhost", "Origin: http://evil.example", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: dapr-app-id"}, true, true},
		"typed into the address bar":      {"GET", []string{"Host: localhost", "Sec-Fetch-Site: none"}, false, false},
		"page of the app itself":          {"POST", []string{"Host: app.localhost:3500", "Origin: http://app.localhost:3500", "Sec-Fetch-Site: same-origin"}, false, false},
		"loopback origin, no fetch field": {"POST", []string{"Host: localhost", "Origin: http://127.0.0.1:8080"}, false, false},
		"gateway with the header form":    {"POST", []string{"Host: localhost", "Origin: http://shop.example", "Sec-Fetch-Site: same-origin", "dapr-app-id: app"}, false, false},
		"gateway with a token":            {"POST", []string{"Host: localhost", "Origin: http://shop.example", "dapr-api-token: t"}, false, false},
		"allowed origin":                  {"POST", []string{"Host: localhost", "Origin: https://app.example", "Sec-Fetch-Site: cross-site"}, true, false},
		"allowed by pattern":              {"POST", []string{"Host: localhost", "Origin: https://a.team.example", "Sec-Fetch-Site: cross-site"}, true, false},
		"scheme differs":                  {"POST", []string{"Host: localhost", "Origin: http://app.example"}, true, true},
		"allowed host":                    {"POST", []string{"Host: pillion.test"}, true, false},
	} {
		for door, denied := range map[string]bool{addr: c.denied, widened: c.wide} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				text := c.method + " " + callX + " HTTP/1.1\r\n" + strings.Join(c.lines, "\r\n") + "\r\n\r\n"
				resp, body := ask(t, door, text)
				if got := resp.StatusCode == 403; got != denied {
					t.Fatalf("%q: %d %s, want denied: %v", text, resp.StatusCode, body, denied)
				}
				if !denied {
					return
				}
				if !strings.Contains(body, `"errorCode":"ERR_ORIGIN"`) || !strings.Contains(body, "--allowed-") {
					t.Errorf("the refusal does not name the flag: %s", body)
				}
				if resp.Header.Get("Pillion-Error") != "ORIGIN_DENIED" || resp.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("header of the refusal: %v", resp.Header)
				}
			})
		}
	}
}

func TestAllowedOriginsGetTheAnswersBrowsersNeed(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{AllowedOrigins: []string{"https://app.example"}})
	resp, _ := ask(t, addr, get("OPTIONS", callX, "Origin: https://app.example", "Sec-Fetch-Site: cross-site",
		"Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: dapr-app-id, x-a"))
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  "https://app.example",
		"Access-Control-Allow-Methods": "PUT",
		"Access-Control-Allow-Headers": "Dapr-App-Id, X-A",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("preflight: %s is %q, want %q", name, got, want)
		}
	}
	if resp.StatusCode != 200 {
		t.Errorf("preflight: %d", resp.StatusCode)
	}
	resp, _ = ask(t, addr, get("POST", callX, "Origin: https://app.example"))
	if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "https://app.example" || resp.StatusCode != 200 {
		t.Errorf("request: %d, Access-Control-Allow-Origin %q", resp.StatusCode, got)
	}
	all := serve(t, httpapi.Config{AllowedOrigins: []string{"*"}})
	resp, _ = ask(t, all, get("POST", callX, "Origin: https://any.example", "Sec-Fetch-Site: cross-site"))
	if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "*" || resp.StatusCode != 200 {
		t.Errorf("any origin: %d, Access-Control-Allow-Origin %q", resp.StatusCode, got)
	}
}

func TestTheAPITokenIsAskedForAndGoesNoFurther(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{APIToken: "s3cret"})
	for _, lines := range [][]string{nil, {"dapr-api-token: wrong"}, {"dapr-api-token: s3cret2"}} {
		resp, body := ask(t, addr, get("GET", callX, lines...))
		if resp.StatusCode != 401 || body != "invalid api token\n" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q: %d %q %v, want Dapr's 401", lines, resp.StatusCode, body, resp.Header)
		}
	}
	resp, body := ask(t, addr, get("GET", callX, "dapr-api-token: s3cret"))
	if resp.StatusCode != 200 || strings.Contains(body, "s3cret") {
		t.Errorf("with the token: %d %s", resp.StatusCode, body)
	}
	for path, want := range map[string]int{"/v1.0/healthz": 204, "/v1.0/healthz/outbound": 204, "/v1.0/metadata": 401} {
		if resp, _ := ask(t, addr, get("GET", path)); resp.StatusCode != want {
			t.Errorf("GET %s without token: %d, want %d", path, resp.StatusCode, want)
		}
	}
	if resp, _ := ask(t, addr, get("POST", "/v1.0/healthz")); resp.StatusCode != 401 {
		t.Errorf("POST to health without token: %d, want 401", resp.StatusCode)
	}
	open := serve(t, httpapi.Config{})
	_, body = ask(t, open, get("GET", callX, "dapr-api-token: theirs"))
	if !strings.Contains(body, "theirs") {
		t.Error("without a token of our own the field is the app's")
	}
}
