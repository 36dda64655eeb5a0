package mesh_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// The shape of the budgets: a POST of 54 bytes, a JSON answer.
const benchBody = `{"task":"write the benchmarks first","done":"not yet"}`

func benchAnswer(b *testing.B, w *world) *callee {
	b.Helper()
	reply := []byte(`{"status":"received","id":12345}`)
	return w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		var buf [128]byte
		for n, want := 0, len(benchBody); n < want; {
			k, err := c.Body.Read(buf[:])
			if n += k; n < want && err != nil {
				return nil, err
			}
		}
		c.Reached()
		a := answer(200, "")
		a.Fields = invoke.Fields{{Name: "Content-Type", Value: "application/json"}}
		a.Body, a.Length = invoke.BytesBody(reply), int64(len(reply))
		return a, nil
	})
}

func benchCall(b *testing.B, send func(*invoke.Call) (*invoke.Answer, error)) {
	b.Helper()
	c := call(benchBody)
	c.Fields = append(c.Fields, invoke.Field{Name: "Accept", Value: "*/*"}, invoke.Field{Name: "User-Agent", Value: "bench"})
	a, err := send(c)
	if err != nil {
		b.Error(err)
		return
	}
	if _, err := io.Copy(io.Discard, a.Body); err != nil {
		b.Error(err)
	}
	_ = a.Body.Close()
}

func BenchmarkCallsInSequence(b *testing.B) {
	w := newWorld(b)
	s := benchAnswer(b, w)
	tr := w.transport()
	send := func(c *invoke.Call) (*invoke.Answer, error) { return tr.Send(b.Context(), s.at, w.callee.ID(), c) }
	benchCall(b, send)
	b.ReportAllocs()
	for b.Loop() {
		benchCall(b, send)
	}
}

func BenchmarkCallsAtOnce(b *testing.B) {
	for _, n := range []int{1, 32, 256, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b)
			s := benchAnswer(b, w)
			tr := w.transport()
			send := func(c *invoke.Call) (*invoke.Answer, error) { return tr.Send(b.Context(), s.at, w.callee.ID(), c) }
			benchCall(b, send)
			b.ReportAllocs()
			b.SetParallelism(max(1, n/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					benchCall(b, send)
				}
			})
		})
	}
}

func BenchmarkMegabyteEachWay(b *testing.B) {
	w := newWorld(b)
	s := w.serve(echo)
	tr := w.transport()
	data := pattern(1<<20, 1)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		c := call("")
		c.Body, c.Length = invoke.BytesBody(data), 1<<20
		a, err := tr.Send(b.Context(), s.at, w.callee.ID(), c)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, a.Body); n != 1<<20 || err != nil {
			b.Fatal(n, err)
		}
		_ = a.Body.Close()
	}
}
