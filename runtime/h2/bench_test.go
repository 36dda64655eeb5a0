package h2_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// The client and the server of both engines, each against the same other side.

func BenchmarkUnaryOursToStandardServer(b *testing.B) {
	addr := stdServer(b, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	benchOurs(b, addr)
}

func BenchmarkUnaryOursToOurs(b *testing.B) { benchOurs(b, serve(b, echo).addr) }

func benchOurs(b *testing.B, addr string) {
	cl := dial(b, addr)
	ctx := b.Context()
	req := request()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := cl.Reserve(ctx); err != nil {
				b.Error(err)
				return
			}
			a, err := cl.RoundTrip(ctx, post("fifty-four bytes of a body, which is a usual small one"), req)
			if err != nil {
				b.Error(err)
				return
			}
			if _, ok := invoke.Whole(a.Body); !ok {
				_, _ = io.Copy(io.Discard, a.Body)
			}
			_ = a.Body.Close()
		}
	})
}

func BenchmarkUnaryStandardClientToStandardServer(b *testing.B) {
	benchStandard(b, stdServer(b, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
}

func BenchmarkUnaryStandardClientToOurs(b *testing.B) { benchStandard(b, serve(b, echo).addr) }

func benchStandard(b *testing.B, addr string) {
	c := h2c(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			res, err := c.Post("http://"+addr+"/p", "", strings.NewReader("fifty-four bytes of a body, which is a usual small one"))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	})
}
