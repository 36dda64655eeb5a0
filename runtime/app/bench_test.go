package app_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/callctx"
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

// small is what a call of the benchmarks carries each way.
var small = []byte(`{"task":"write the benchmark","done":false,"id":12345}`)

// answering is an app that costs as little as one can: it answers each request
// of size bytes, allocating nothing.
func answering(t testing.TB, answer []byte) uint16 {
	t.Helper()
	return raw(t, func(c net.Conn) {
		buf := make([]byte, 4<<10)
		n := 0
		for {
			got, err := c.Read(buf[n:])
			if err != nil {
				return
			}
			n += got
			if !bytes.HasSuffix(buf[:n], small) {
				continue
			}
			n = 0
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
}

func answerOf(body []byte) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Tue, 05 Aug 2025 10:00:00 GMT\r\nContent-Length: %d\r\n\r\n", len(body))
	return append([]byte(head), body...)
}

var noDeadline time.Time

// smallCall is a call as the mesh hands it over.
func smallCall() *invoke.Call {
	return &invoke.Call{
		Verb: "POST", Path: "/tasks", Only: true, Major: 1, Body: invoke.BytesBody(small), Length: int64(len(small)),
		Fields: invoke.Fields{
			{Name: "User-Agent", Value: "bench/1"},
			{Name: "Content-Type", Value: "application/json"},
			{Name: "Accept", Value: "*/*"},
			{Name: "X-Forwarded-For", Value: "127.0.0.1"},
			{Name: "Dapr-Caller-App-Id", Value: "todo-api"},
		},
	}
}

// consume reads an answer as a codec does: at once where it is there.
func consume(t testing.TB, ans *invoke.Answer, buf []byte) {
	if _, whole := invoke.Whole(ans.Body); !whole {
		if _, err := io.CopyBuffer(io.Discard, readerFunc(ans.Body.Read), buf); err != nil {
			t.Error(err)
		}
	}
	_ = ans.Body.Close()
}

func BenchmarkParallel(b *testing.B) {
	for _, size := range []int{len(small), 10 << 10} {
		answer := answerOf(bytes.Repeat([]byte("a"), size))
		for _, clients := range []int{1, 32, 256} {
			b.Run(fmt.Sprintf("%dB/%d", size, clients), func(b *testing.B) {
				a, _ := runApp(b, app.Config{Port: answering(b, answer)})
				kept(b, a)
				b.ReportAllocs()
				b.ResetTimer()
				left := make(chan struct{}, b.N)
				for range b.N {
					left <- struct{}{}
				}
				close(left)
				done := make(chan struct{})
				for range clients {
					go func() {
						buf := make([]byte, 32<<10)
						for range left {
							ctx := callctx.New(b.Context(), noDeadline)
							ans, err := a.Serve(ctx, smallCall())
							if err != nil {
								b.Error(err)
							} else {
								consume(b, ans, buf)
							}
							ctx.Cancel(nil)
						}
						done <- struct{}{}
					}()
				}
				for range clients {
					<-done
				}
			})
		}
	}
}
