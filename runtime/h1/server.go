// Package h1 is the fast HTTP/1 server: a connection in, calls out. It knows
// one strict grammar and decides on each head before a byte of it is consumed;
// a connection whose head it does not know is given back whole, for another
// engine. What two parsers could read in two ways it refuses. One goroutine
// serves a connection, and a request that is there in one piece costs one read,
// one write and a handful of allocations.
package h1

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultHead bounds a request's head, its trailers likewise.
	DefaultHead = 64 << 10
	// headTimeout bounds the wait for the first byte of a connection and for
	// the rest of a head.
	headTimeout = 10 * time.Second
)

// Config is what a Server is made of. Handler is required.
type Config struct {
	Handler Handler
	// MaxHead bounds a request's head, in bytes. Zero: DefaultHead.
	MaxHead int
	// Logger may be nil.
	Logger *slog.Logger
}

// A Handler decides and carries out. Its methods are called from the goroutines
// of many connections.
type Handler interface {
	// Take looks at a request of which nothing has been consumed and completes
	// x.Call: its target, path and whatever else is not HTTP's. False gives the
	// connection back from this request on.
	Take(x *Exchange) bool
	// Serve carries out x.Call and answers it, with one of Answer, Reply and
	// Switch. If it returns without, the connection ends. ctx ends when the
	// client is gone, at the time Take has set, or with the Server.
	Serve(ctx context.Context, x *Exchange)
	// Refuse renders the answer to what is no request.
	Refuse(r Refusal) Reply
}

// Given is a connection as it is given back.
type Given struct {
	// Over is true if the connection is closed.
	Over bool
	// Data are the bytes read and not consumed; they begin with a head.
	Data []byte
	// HTTP2 is true if Data begins as HTTP/2 does.
	HTTP2 bool
}

// A Server serves connections. Create it with New.
type Server struct {
	cfg  Config
	log  *slog.Logger
	base context.Context //nolint:containedctx // the values of all calls

	draining atomic.Bool // no request is taken behind those under way
	stopped  atomic.Bool // cut is set
	scan     scanner
	once     sync.Once
	serving  sync.WaitGroup // Serve, and the scanner

	mu      sync.Mutex // guards what follows
	conns   map[*conn]struct{}
	tunnels int
	cut     error         // why nothing is served any more
	left    chan struct{} // closed when a connection leaves; nil if nobody waits
}

// New makes a Server whose calls have the values of ctx. It starts nothing.
func New(ctx context.Context, cfg Config) *Server {
	s := &Server{cfg: cfg, log: cfg.Logger, base: context.WithoutCancel(ctx), conns: make(map[*conn]struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.cfg.MaxHead <= 0 {
		s.cfg.MaxHead = DefaultHead
	}
	s.scan.end = make(chan struct{})
	return s
}

// Serve answers the requests of nc, in their order, until it is over or has to
// be given back. It closes nc only if it is over.
func (s *Server) Serve(nc net.Conn) Given {
	c := newConn(s, nc)
	if c == nil {
		return Given{} // its bytes cannot be had the way they are needed here
	}
	if !s.enter(c) {
		_ = nc.Close() // nobody is served any more
		return Given{Over: true}
	}
	defer s.leave(c)
	defer s.rescue(c)
	return c.run()
}

// rescue keeps a mistake in one call from ending the program.
func (s *Server) rescue(c *conn) {
	if p := recover(); p != nil {
		s.log.Error("a call failed by a mistake in this program", "panic", p, "stack", string(debug.Stack()))
		_ = c.nc.Close() // before the body: who reads it is let go
		if x := c.call.Swap(nil); x != nil {
			x.body.finish()
			x.ctx.Cancel(errOver)
		}
	}
}

func (s *Server) enter(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut != nil || s.draining.Load() {
		return false
	}
	s.serving.Add(1)
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	if c.tunnel != nil {
		s.tunnels--
	}
	s.changed()
	s.mu.Unlock()
	s.serving.Done()
}

// tunnelled notes that c speaks HTTP no longer, so that Shutdown does not wait
// for it.
func (s *Server) tunnelled(x *Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.c.tunnel = x
	s.tunnels++
	s.changed()
}

// cause is why nothing is served any more.
func (s *Server) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

// changed wakes Shutdown. s.mu is held.
func (s *Server) changed() {
	if s.left != nil {
		close(s.left)
		s.left = nil
	}
}

// errStopped is the cause of calls that Shutdown cuts off without one.
var errStopped = errors.New("the server has stopped")

// Shutdown ends the Server: idle connections are closed at once, those with a
// request under way after their answer, what is left when ctx ends is cut off
// because of cause, and so are tunnels. It returns when nothing of the Server
// runs any more.
func (s *Server) Shutdown(ctx context.Context, cause error) {
	if cause == nil {
		cause = errStopped
	}
	s.draining.Store(true)
	for _, c := range s.all() {
		if c.busy.CompareAndSwap(idle, closing) {
			_ = c.nc.Close()
		}
	}
	s.drain(ctx)
	s.mu.Lock()
	if s.cut == nil {
		s.cut = cause
	}
	s.mu.Unlock()
	s.stopped.Store(true)
	for _, c := range s.all() {
		c.cut(cause)
	}
	s.once.Do(func() { close(s.scan.end) })
	s.serving.Wait()
}

func (s *Server) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// drain waits until there are only tunnels left, or ctx ends.
func (s *Server) drain(ctx context.Context) {
	for {
		s.mu.Lock()
		if len(s.conns) <= s.tunnels {
			s.mu.Unlock()
			return
		}
		if s.left == nil {
			s.left = make(chan struct{})
		}
		left := s.left
		s.mu.Unlock()
		select {
		case <-left:
		case <-ctx.Done():
			return
		}
	}
}
