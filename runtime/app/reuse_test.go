package app_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

const ok2 = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// counting answers each request and counts the connections that carry any.
func counting(t testing.TB) (port uint16, conns *atomic.Int32) {
	t.Helper()
	conns = new(atomic.Int32)
	return raw(t, func(c net.Conn) {
		for n := 0; readUntil(c, "\r\n\r\nbody") != ""; n++ {
			if n == 0 {
				conns.Add(1)
			}
			_, _ = io.WriteString(c, ok2)
		}
	}), conns
}

// Traffic at a steady pace soon needs no new connection, though each call finds
// one that has been idle for a while and must not be repeated.
func TestSteadyCallsNeedNoNewConnection(t *testing.T) {
	t.Parallel()
	port, conns := counting(t)
	a, _ := runApp(t, app.Config{Port: port})
	const calls, pace, learnt = 80, 25 * time.Millisecond, 20
	late := int32(0)
	for range calls {
		began := time.Now()
		do(t, a, post("/", "body"))
		time.Sleep(pace) // the pace is what is tested
		if time.Since(began) > 3*pace/2 {
			late += 2 // on a busy machine this call may have been late, and so the next
		}
	}
	if n := conns.Load(); n > learnt+late {
		t.Errorf("%d connections for %d calls, of which %d may have been late", n, calls, late)
	}
}

// An idle connection that the app closes is closed at our end too, though
// nobody calls.
func TestIdleConnectionThatTheAppClosesIsDropped(t *testing.T) {
	t.Parallel()
	dropped := make(chan error, 1)
	port := raw(t, func(c net.Conn) {
		if readUntil(c, "\r\n\r\nbody") == "" {
			return
		}
		_, _ = io.WriteString(c, ok2)
		_ = c.(*net.TCPConn).CloseWrite()
		_, err := io.Copy(io.Discard, c)
		dropped <- err
	})
	a, _ := runApp(t, app.Config{Port: port})
	do(t, a, post("/", "body"))
	if err := within.Receive(t, dropped); err != nil {
		t.Error(err)
	}
}

// An app that ends with a call on a connection that had been idle may have seen
// it, though its exit is what the call fails of.
func TestARepeatedCallMayHaveReachedTheApp(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	apps := make(chan *app.App, 1)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = c.Close() }() // that is how it ends
				if readUntil(c, "\r\n\r\n") == "" {
					return
				}
				_, _ = io.WriteString(c, ok2)
				if readUntil(c, "\r\n\r\n") != "" {
					_ = ln.Close()
					(<-apps).Exited("exit status 1")
				}
			})
		}
	})
	a, _ := runApp(t, app.Config{Port: portOf(ln)})
	apps <- a
	do(t, a, get("/"))
	_, err := a.Serve(within.Context(t), get("/"))
	if e := apperr.From(err); !strings.Contains(e.What, "has exited") || e.Reached != apperr.ReachedMaybe || a.Stale() != 1 {
		t.Errorf("%v, reached %v, %d stale", e, e.Reached, a.Stale())
	}
	all.Wait()
}

// A connection that the app has closed is not used: an app that restarts
// between two calls gets both, on however many connections they were.
func TestClosedConnectionsAreNeverUsed(t *testing.T) {
	t.Parallel()
	var open [8]net.Conn
	all := make(chan net.Conn, len(open))
	more := make(chan struct{})
	port := raw(t, func(c net.Conn) {
		if readUntil(c, "\r\n\r\nbody") == "" {
			return
		}
		all <- c
		<-more
		_, _ = io.WriteString(c, ok2)
		_, _ = io.Copy(io.Discard, c)
	})
	a, _ := runApp(t, app.Config{Port: port})
	within.Until(t, "ready", func() bool { return a.State() == "ready" })
	done := make(chan struct{})
	for range open {
		go func() { do(t, a, post("/", "body")); done <- struct{}{} }()
	}
	for i := range open {
		open[i] = within.Receive(t, all)
	}
	close(more)
	for range open {
		within.Receive(t, done)
	}
	for _, c := range open {
		_ = c.Close()
	}
	do(t, a, post("/", "body"))
	if n := a.Stale(); n != 0 {
		t.Errorf("%d calls met a closed connection", n)
	}
}

// kept waits until the app is known to keep its connections.
func kept(t testing.TB, a *app.App) {
	t.Helper()
	ans, err := a.Serve(within.Context(t), smallCall())
	if err != nil {
		t.Fatal(err)
	}
	consume(t, ans, make([]byte, 1024))
	within.Until(t, "the app to be known to keep its connections", a.Keeps)
}

// An app that closes each connection behind its answer, and does not say so,
// loses no call.
func TestAppThatClosesSilently(t *testing.T) {
	t.Parallel()
	port := raw(t, func(c net.Conn) {
		if readUntil(c, "\r\n\r\nbody") != "" {
			_, _ = io.WriteString(c, ok2)
		}
	})
	a, _ := runApp(t, app.Config{Port: port})
	for range 300 {
		do(t, a, post("/", "body"))
	}
}

// An app that serves one connection after the other is not kept from the next
// one by a connection that is idle.
func TestAppThatServesOneConnectionAtATime(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			for readUntil(c, "\r\n\r\nbody") != "" {
				_, _ = io.WriteString(c, ok2)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); within.Receive(t, done) })
	a, _ := runApp(t, app.Config{Port: portOf(ln)})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second) // less than an idle connection is kept
	defer cancel()
	for range 20 {
		ans, err := a.Serve(ctx, post("/", "body"))
		if err != nil {
			t.Fatal(err)
		}
		_ = ans.Body.Close()
		time.Sleep(60 * time.Millisecond) // longer than a connection is trusted at first
	}
}

// A small call costs what it costs, and no more than it did.
func TestACallsAllocations(t *testing.T) { //nolint:paralleltest // counts allocations
	a, _ := runApp(t, app.Config{Port: answering(t, answerOf(small))})
	within.Until(t, "ready", func() bool { return a.State() == "ready" })
	ctx := callctx.New(t.Context(), noDeadline)
	defer ctx.Cancel(nil)
	c := smallCall()
	buf := make([]byte, 1024)
	kept(t, a)
	got := testing.AllocsPerRun(500, func() {
		c.Body = invoke.BytesBody(small) // one of them
		ans, err := a.Serve(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		consume(t, ans, buf)
	})
	const budget = 5
	if got > budget {
		t.Errorf("%v allocations, the budget is %d", got, budget)
	}
}

// An app that listens on ::1 alone is found there.
func TestAppOnIPv6Alone(t *testing.T) {
	t.Parallel()
	port := porttest.Reserve(t) // nobody else is at 127.0.0.1
	ln, err := net.Listen("tcp", net.JoinHostPort("::1", port.String()))
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	hosts := make(chan string, 1)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if head := readUntil(c, "\r\n\r\n"); head != "" {
				hosts <- head
				_, _ = io.WriteString(c, ok2)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close() })
	a, _ := runApp(t, app.Config{Port: port.Number()})
	do(t, a, get("/"))
	if head, want := within.Receive(t, hosts), "GET / HTTP/1.1\r\nHost: [::1]:"+port.String()+"\r\n\r\n"; head != want {
		t.Errorf("the app got %q, want %q", head, want)
	}
}
