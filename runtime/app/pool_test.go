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

	"github.com/pillion-dev/pillion/internal/within"
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
	t.Cleanup(func() { _ = srv.Close(); within.Receive(t, done) })

	var failures atomic.Int32
	var all sync.WaitGroup
	for client := range clients {
		a, _ := runApp(t, app.Config{Port: portOf(ln)})
		all.Go(func() {
			for n := range each {
				ans, err := a.Serve(within.Context(t), post("/", fmt.Sprint(client, "/", n)))
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
	t.Cleanup(func() { _ = srv.Close(); within.Receive(t, done) })
	a, _ := runApp(t, app.Config{Port: portOf(ln)})
	do(t, a, post("/", "some body"))
	within.Until(t, "the app to be known to keep it", a.Keeps)
	late := int32(0) // calls that may have met a connection idle for too long, on a busy machine
	for n := range 50 {
		began := time.Now()
		if n%2 == 0 {
			do(t, a, post("/", "some body"))
		} else {
			do(t, a, get("/"))
		}
		if time.Since(began) > app.IdleTrusted/2 {
			late += 2 // this one, and the next
		}
	}
	if n := opened.Load(); n > 4+late { // the look, one to see how long it lives, and one that carries calls
		t.Errorf("%d connections for 50 calls, of which %d may have been late", n, late)
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
	within.Until(t, "ready", func() bool { return a.State() == "ready" })
	var all sync.WaitGroup
	for range 1100 {
		all.Go(func() { do(t, a, get("/")) })
	}
	within.Until(t, "the app to be full", func() bool { return now.Load() == 1024 })
	close(release)
	all.Wait()
	if n := most.Load(); n != 1024 {
		t.Errorf("%d calls at once, want 1024", n)
	}
}
