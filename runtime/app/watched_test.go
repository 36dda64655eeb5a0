package app

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Where a look shows nothing, connections are watched: they are used again, and
// the calls on them are whole.
func TestWatchedConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns atomic.Int32
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = w.Write(body)
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				conns.Add(1)
			}
		},
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(ln) }()
	a := New(Config{Name: "watched", Port: uint16(ln.Addr().(*net.TCPAddr).Port)})
	a.pool.looks = false
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); _ = a.Run(ctx) }()
	t.Cleanup(func() { cancel(); within.Receive(t, ran); _ = srv.Close(); within.Receive(t, served) })
	late := int32(0)
	for n := range 200 {
		began := time.Now()
		text := strings.Repeat("x", n*300)
		ans, err := a.Serve(ctx, &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: invoke.BytesBody([]byte(text)), Length: int64(len(text))})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(ans.Body)
		_ = ans.Body.Close()
		if string(got) != text || err != nil {
			t.Fatalf("call %d: %d bytes, %v", n, len(got), err)
		}
		if n == 0 {
			time.Sleep(2 * idleTrusted) // until the app is known to keep it
		}
		if time.Since(began) > idleTrusted/2 {
			late += 2 // on a busy machine this call may have been late, and so the next
		}
	}
	if n := conns.Load(); n > 10+late {
		t.Errorf("%d connections for 200 calls, of which %d may have been late", n, late)
	}
}
