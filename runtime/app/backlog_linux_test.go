package app_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An app that lets few connections wait, serves one at a time and keeps none
// gets all the calls that have waited for it, within the time they have. The
// system would let each that finds the queue full wait for a second, and all
// others behind it.
func TestHeldCallsReachAnAppWithAShortQueue(t *testing.T) {
	t.Parallel()
	const calls = 200
	port := porttest.Reserve(t)
	a, _ := runApp(t, app.Config{Port: port.Number(), Command: true})
	a.Started()
	results := held(t, a, calls, func(int) *invoke.Call { return post("/", "body") })
	ln := port.Listen(t)
	narrow(t, ln, 5)
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				time.Sleep(2 * time.Millisecond) // its work
				_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nok")
			}
			_ = c.Close()
		}
	}()
	for range calls {
		if err := within.Receive(t, results); err != nil {
			t.Errorf("a held call: %v", err)
		}
	}
	_ = ln.Close()
	within.Receive(t, served)
}

// narrow has so few connections wait at a listener.
func narrow(t *testing.T, ln net.Listener, backlog int) {
	t.Helper()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), backlog) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}
