package app

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// pair is a connection to an app, and the app's end of it.
func pair(t *testing.T) (*App, *conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	a := New(Config{Port: uint16(ln.Addr().(*net.TCPAddr).Port)})
	c, err := a.pool.get(within.Context(t), idleLimitStrict)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), theirs.Close() })
	return a, c, theirs.(*net.TCPConn)
}

// The idle time of a connection whose answer is read late began when the answer
// came.
func TestIdleSinceTheAnswerCame(t *testing.T) {
	t.Parallel()
	const late = 20 * time.Millisecond
	_, c, theirs := pair(t)
	c.asked = time.Now().Add(-time.Hour)
	if _, err := io.WriteString(theirs, "answer"); err != nil {
		t.Fatal(err)
	}
	within.Until(t, "the answer to lie there for a while", func() bool { return !c.sight.quiet() && c.sight.heard() >= late })
	now := time.Now()
	if idle := now.Sub(c.idleSince(now)); idle < late || idle > time.Minute {
		t.Errorf("idle for %v", idle)
	}
}

// An app that closed the connection before it was written to got nothing; one
// that closed it afterwards may have.
func TestACloseBeforeTheCallIsTold(t *testing.T) {
	t.Parallel()
	readAll := func(theirs *net.TCPConn) {
		buf := make([]byte, 1024)
		_, _ = theirs.Read(buf) // the call is one segment
	}
	readSome := func(theirs *net.TCPConn) {
		var one [1]byte
		_, _ = theirs.Read(one[:])
	}
	for _, test := range []struct {
		name      string
		before    bool
		read      func(*net.TCPConn)
		untouched bool
	}{
		{"closed before", true, nil, true},
		{"read, and closed", false, readAll, false},
		{"read in part, and closed", false, readSome, false},
		{"read in part, shut down, and closed", false, func(theirs *net.TCPConn) { readSome(theirs); _ = theirs.CloseWrite() }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, c, theirs := pair(t)
			c.uses = 1
			closed := make(chan struct{})
			if test.before {
				_ = theirs.Close()
				within.Until(t, "the close to be seen", func() bool { return !c.sight.quiet() })
				close(closed)
			} else {
				go func() { defer close(closed); test.read(theirs); _ = theirs.Close() }()
			}
			h := &handover{app: a, call: &invoke.Call{Verb: "POST", Path: "/"}}
			_, err := a.pool.attempt(within.Context(t), c, h)
			lapse, lapsed := errors.AsType[*lapseError](err)
			if !lapsed || !lapse.silent || lapse.untouched != test.untouched {
				t.Errorf("%v: %+v", err, lapse)
			}
			within.Receive(t, closed)
		})
	}
}

// A call that the app provably did not get goes out again with its body, which is
// closed once the app has it.
func TestACallGoesOutAgainWithItsBody(t *testing.T) {
	t.Parallel()
	a, c, theirs := pair(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	a.pool.dialer = newPlace(Config{Port: uint16(ln.Addr().(*net.TCPAddr).Port)})
	c.spot = a.pool.dialer.spot()
	a.pool.open = maxConns // so that the call waits for the one there is, and does not look at it

	got := make(chan string, 1)
	go func() {
		for n := 0; n == 0; { // not one that was given up before it was used
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
			buf := make([]byte, 1024)
			if n, _ = c.Read(buf); n > 0 {
				_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
				got <- string(buf[:n])
			}
		}
	}()
	body := &closing{Body: invoke.BytesBody([]byte("body"))}
	answered := make(chan error, 1)
	go func() {
		h := &handover{app: a, call: &invoke.Call{Verb: "POST", Path: "/", Body: body, Length: 4}}
		_, err := a.pool.exchange(within.Context(t), h)
		answered <- err
	}()
	within.Until(t, "the call to wait", func() bool {
		a.pool.mu.Lock()
		defer a.pool.mu.Unlock()
		return a.pool.waiting.Len() == 1
	})
	_ = theirs.Close()
	within.Until(t, "the close to be seen", func() bool { return !c.sight.quiet() })
	a.pool.put(c)
	if err := within.Receive(t, answered); err != nil {
		t.Fatal(err)
	}
	if request := within.Receive(t, got); !strings.HasSuffix(request, "\r\n\r\nbody") {
		t.Errorf("the app got %q", request)
	}
	if n := body.closed.Load(); n != 1 {
		t.Errorf("the body was closed %d times", n)
	}
}

// closing is a body that nothing can be read of once it is closed.
type closing struct {
	invoke.Body
	closed atomic.Int32
}

func (b *closing) Whole() ([]byte, bool) {
	if b.closed.Load() > 0 {
		return nil, false
	}
	return invoke.Whole(b.Body)
}

func (b *closing) Read(p []byte) (int, error) {
	if b.closed.Load() > 0 {
		return 0, io.ErrClosedPipe
	}
	return b.Body.Read(p)
}

func (b *closing) Close() error {
	b.closed.Add(1)
	return nil
}
