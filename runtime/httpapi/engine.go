package httpapi

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// serve gives a connection to its engine. This is the one place where the
// engines meet: a connection begins with the fast one, which gives it back
// from the first request on that it does not take; then it is the HTTP/2
// engine's, or net/http's, for the rest of its life.
func (d *door) serve(c *conn) {
	if d.cfg.Standard {
		d.passed.take(c)
		return
	}
	c.l.spoke(c) // the engine knows itself which connections are idle
	given := d.h1.Serve(c)
	switch {
	case given.Over:
		return
	case len(given.Data) > 0:
		c.held, c.spoke = given.Data, true
	case !c.l.open(c):
		_ = c.Close() // nobody serves it any more
		return
	}
	if given.HTTP2 && !d.onlyHTTP1 {
		d.serveH2(c)
		return
	}
	d.passed.take(c)
}

// Counts are the requests that each engine has read.
type Counts struct {
	// Fast are those of the fast HTTP/1.1 engine, and Refused what it took for
	// an attempt to smuggle.
	Fast, Refused uint64
	// HTTP2 are those of the fast HTTP/2 engine.
	HTTP2 uint64
	// Standard are net/http's, of HTTP/1 and HTTP/2.
	Standard uint64
}

type counts struct{ fast, refused, http2, standard atomic.Uint64 }

// Counts says how many requests each engine has read until now.
func (s *Server) Counts() Counts {
	return Counts{
		Fast: s.counts.fast.Load(), Refused: s.counts.refused.Load(),
		HTTP2: s.counts.http2.Load(), Standard: s.counts.standard.Load(),
	}
}

// Waits between attempts to accept while the system has too little of
// something.
const (
	acceptSoon = 5 * time.Millisecond
	acceptLate = time.Second
)

// accept serves connections until l is closed or fails.
func (d *door) accept(l *listener) error {
	wait := acceptSoon
	for {
		accepted, err := l.Accept()
		if err != nil && passing(err) {
			select {
			case <-time.After(wait):
			case <-l.done:
			}
			wait = min(2*wait, acceptLate)
			continue
		}
		if err != nil {
			return err
		}
		wait = acceptSoon
		c, ok := accepted.(*conn)
		if !ok {
			continue // a listener has no others
		}
		d.served.Go(func() { d.serve(c) })
	}
}

// passing reports whether accepting may succeed a little later.
func passing(err error) bool {
	for _, known := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

// A handover is the listener that net/http accepts connections from.
type handover struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandover(addr net.Addr) *handover {
	return &handover{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

// take hands c over, or closes it if nothing is served any more.
func (h *handover) take(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		_ = c.Close() // nobody serves it any more
	}
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handover) Addr() net.Addr { return h.addr }
