package app_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func BenchmarkCall(b *testing.B) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	payload := []byte(`{"task":"write the benchmark","done":false,"id":12345}`)
	for _, bench := range []struct{ name, protocol, verb string }{
		{"HTTP1 GET", "http", "GET"}, {"HTTP1 POST", "http", "POST"}, {"HTTP2 POST", "h2c", "POST"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			port := serveH2C(b, echo)
			if bench.protocol == "http" {
				port = serve(b, echo)
			}
			a, _ := runApp(b, app.Config{Port: port, Protocol: bench.protocol})
			b.ReportAllocs()
			for b.Loop() {
				c := &invoke.Call{Verb: bench.verb, Path: "/tasks", Only: true}
				if bench.verb == "POST" {
					c.Body, c.Length = invoke.BytesBody(payload), int64(len(payload))
				}
				ans, err := a.Serve(b.Context(), c)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, ans.Body)
				_ = ans.Body.Close()
			}
		})
	}
}
