package app_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/runtime/app"
)

// An app with an idle limit of 100 ms and POSTs at gaps around it: none fails,
// none is seen twice.
func TestIdleLimitLosesNoPost(t *testing.T) {
	t.Parallel()
	const clients, each = 40, 25
	var mu sync.Mutex
	seen := make(map[string]int)
	ln := listen(t)
	srv := &http.Server{IdleTimeout: 100 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[string(id)]++
		mu.Unlock()
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })

	var failures atomic.Int32
	var all sync.WaitGroup
	for client := range clients {
		a, _ := runApp(t, app.Config{Port: portOf(ln)})
		all.Go(func() {
			for n := range each {
				ans, err := a.Serve(t.Context(), post("/", fmt.Sprint(client, "/", n)))
				if err != nil {
					t.Error(err)
					failures.Add(1)
					continue
				}
				_, _ = io.Copy(io.Discard, ans.Body)
				_ = ans.Body.Close()
				gap := time.Duration(95_000+rand.IntN(10_000)) * time.Microsecond
				if rand.IntN(2) == 0 {
					gap = time.Duration(rand.IntN(200_000)) * time.Microsecond
				}
				time.Sleep(gap) // the gap is what is tested
			}
		})
	}
	all.Wait()
	if failures.Load() != 0 || len(seen) != clients*each {
		t.Errorf("%d failed, %d of %d arrived", failures.Load(), len(seen), clients*each)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was seen %d times", id, n)
		}
	}
}

// Connections are kept, and an app's close is seen while nobody calls.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	var opened, closed atomic.Int32
	ln := listen(t)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }),
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateActive: // a connection that only looks is never active
			case http.StateNew:
				opened.Add(1)
			case http.StateClosed:
				closed.Add(1)
			case http.StateIdle, http.StateHijacked:
			}
		},
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	a, _ := runApp(t, app.Config{Port: portOf(ln)})
	do(t, a, post("/", "some body"))
	time.Sleep(60 * time.Millisecond) // until the app is known to keep it
	for n := range 50 {
		if n%2 == 0 {
			do(t, a, post("/", "some body"))
			continue
		}
		do(t, a, get("/"))
	}
	if n := opened.Load(); n > 4 { // the look, one to see how long it lives, and one that carries calls
		t.Errorf("%d connections for 50 calls", n)
	}
}

// The connections of one app are bounded; who waits for one gets it.
func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("opens 1,024 connections")
	}
	var now, most atomic.Int32
	release := make(chan struct{})
	port := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		<-release
		now.Add(-1)
	}))
	a, _ := runApp(t, app.Config{Port: port})
	waitFor(t, "ready", func() bool { return a.State() == "ready" })
	var all sync.WaitGroup
	for range 1100 {
		all.Go(func() { do(t, a, get("/")) })
	}
	waitFor(t, "the app to be full", func() bool { return now.Load() == 1024 })
	close(release)
	all.Wait()
	if n := most.Load(); n != 1024 {
		t.Errorf("%d calls at once, want 1024", n)
	}
}
