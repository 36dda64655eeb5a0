package httpapi_test

import (
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// 4 MB of state, and one byte more.
func TestABodyOfTheAPIHasABound(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{State: newState(t)})
	small := serve(t, httpapi.Config{State: newState(t), MaxBody: 10})
	open := serve(t, httpapi.Config{State: newState(t), MaxBody: -1})
	item := func(size int) string {
		return `[{"key":"k","value":"` + strings.Repeat("x", size-len(`[{"key":"k","value":""}]`)) + `"}]`
	}
	const limit = 4 << 20
	for _, c := range []struct{ about, addr, line, body, want string }{
		{"4 MiB", addr, "POST /v1.0/state/store", item(limit), empty},
		{"one byte more", addr, "POST /v1.0/state/store", item(limit + 1), basic(400, "ERR_MALFORMED_REQUEST", "stream too large")},
		{"no bound", open, "POST /v1.0/state/store", item(limit + 1), empty},
		{"bulk get", small, "POST /v1.0/state/store/bulk", `{"keys":["a"]}`, basic(400, "ERR_MALFORMED_REQUEST", "failed deserializing HTTP body: stream too large")},
		{"a query", small, "POST /v1.0-alpha1/state/store/query", `{"filter":{}}`, basic(400, "ERR_BODY_READ", "failed to read request body: stream too large")},
		{"metadata", small, "PUT /v1.0/metadata/k", "12345678901", basic(400, "ERR_BODY_READ", "failed to read request body: stream too large")},
		{"a workflow", small, "POST /v1.0/workflows/dapr/w/start", "12345678901", basic(400, "ERR_BODY_READ", "failed to read request body: stream too large")},
	} {
		if got := whole(t, c.addr, with(c.line, c.body)); got != c.want {
			t.Errorf("%s: %q, want %q", c.about, got, c.want)
		}
		chunked := with(c.line, "", "Transfer-Encoding: chunked") + chunk(c.body) + "0\r\n\r\n"
		if got := whole(t, c.addr, chunked); got != c.want {
			t.Errorf("%s, chunked: %q, want %q", c.about, got, c.want)
		}
	}
}

// Bodies of calls have a bound only where one is asked for.
func TestABodyOfACallMayHaveABound(t *testing.T) {
	t.Parallel()
	read := invoke.HandlerFunc(reflectCall)
	bounded := serve(t, httpapi.Config{Invoke: read, MaxBody: 10, MaxCallBody: 10})
	free := serve(t, httpapi.Config{Invoke: read, MaxBody: 10})
	const tooLarge = `{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: app, err: stream too large`
	for _, c := range []struct {
		about, addr, body string
		status, want      string
	}{
		{"within", bounded, "1234567890", "200", `"Body":"1234567890"`},
		{"more", bounded, "12345678901", "500", tooLarge},
		{"free", free, "12345678901", "200", `"Body":"12345678901"`},
	} {
		for _, request := range []string{
			with("POST "+callX, c.body), with("POST "+callX, "", "Transfer-Encoding: chunked") + chunk(c.body) + "0\r\n\r\n",
		} {
			got := whole(t, c.addr, request)
			if !strings.HasPrefix(got, "HTTP/1.1 "+c.status) || !strings.Contains(got, c.want) {
				t.Errorf("%s: %q, want %s %q", c.about, got, c.status, c.want)
			}
		}
	}
	// A client that goes on regardless loses its connection.
	w := dial(t, bounded)
	w.send(t, "POST "+callX+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n12345678901"+get("GET", "/v1.0/healthz"))
	if resp, _ := w.response(t, "POST"); resp.StatusCode != 500 || !resp.Close {
		t.Errorf("%d, close %v", resp.StatusCode, resp.Close)
	}
	w.closed(t)
}
