package httpapi_test

import (
	"io"
	"testing"

	"github.com/pillion-dev/pillion/runtime/httpapi"
)

// A connection that ends in whatever way makes room for the next one.
func TestEachConnectionGivesItsPlaceBack(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{MaxConns: 1})
	const head = "POST " + callX + " HTTP/1.1\r\nHost: localhost\r\n"
	for range 3 {
		for _, text := range []string{
			"", "GET", get("GET", callX), get("GET", callX) + "GET", get("GET", "/nobody"), get("GET", "/v1.0/healthz") + "GET",
			head + "Content-Length: 10\r\n\r\nabc", head + "Transfer-Encoding: chunked\r\n\r\nabc", head + "X: \n\r\n\r\n",
			head + "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nxx",
			get("GET", callX, "Connection: Upgrade", "Upgrade: x"), "GET / HTTP/1.0\r\ndapr-app-id: app\r\n\r\n", "\r\n\r\n", "\x00",
		} {
			w := dial(t, addr)
			w.send(t, text)
			_ = w.CloseWrite()
			if _, err := io.Copy(io.Discard, w.r); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			_ = w.Close()
		}
	}
}
