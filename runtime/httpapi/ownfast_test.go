package httpapi_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/httpapi"
)

// An app that keeps state and calls others does both on one connection: the one
// must not make the other slow.
func TestTheAPIAndCallsShareAFastConnection(t *testing.T) {
	t.Parallel()
	if standard {
		return // it has no fast connections
	}
	made := make(chan *httpapi.Server, 1)
	addr := serveAs(t, httpapi.Config{State: newState(t), APIToken: "t", Shutdown: func(bool) {}},
		func(s *httpapi.Server, ctx context.Context, ln net.Listener) error {
			made <- s
			return s.Serve(ctx, ln)
		})
	s := <-made
	w := dial(t, addr)
	steps := []struct {
		request string
		status  int
	}{
		{"POST /v1.0/state/store HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: t\r\nContent-Length: 23\r\n\r\n" + `[{"key":"a","value":1}]`, 204},
		{get("POST", callX, "dapr-api-token: t", "Content-Length: 0"), 200},
		{"PUT /v1.0/state/store HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(`[{"key":"b",`) + chunk(`"value":2}]`) + "0\r\n\r\n", 204},
		{get("GET", "/v1.0/state/store/a"), 401},
		{get("GET", "/v1.0/healthz"), 204},
		{get("GET", "/v1.0/state/store/a", "dapr-api-token: t"), 200},
		{get("GET", "/v1.0/state/store/a", "dapr-api-token: t", "Origin: https://evil.example"), 200}, // a token excuses it
		{get("POST", "/v1.0/shutdown", "dapr-api-token: t"), 204},
		{"POST /v1.0/state/store HTTP/1.1\r\nHost: localhost\r\ndapr-api-token: t\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", 100},
		{"[]", 204},
	}
	for _, step := range steps {
		w.send(t, step.request)
		if resp, body := w.response(t, strings.SplitN(step.request, " ", 2)[0]); resp.StatusCode != step.status || resp.Close {
			t.Errorf("%q: %d, close %v, %s; want %d", step.request, resp.StatusCode, resp.Close, body, step.status)
		}
	}
	if c := s.Counts(); c.Standard != 0 || c.Fast != uint64(len(steps)-1) {
		t.Errorf("%+v, want all of them fast", c)
	}
	w.send(t, get("GET", "/v1.0/state/store/a", "dapr-api-token: t", "Connection: close"))
	if resp, body := w.response(t, "GET"); resp.StatusCode != 200 || body != "1" || resp.Header.Get("Date") == "" || resp.Header.Get("Etag") == "" {
		t.Errorf("%d %s %v", resp.StatusCode, body, resp.Header)
	}
	w.closed(t)
}
