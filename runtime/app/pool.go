package app

import (
	"bufio"
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the connections to one app, Dapr's.
const (
	maxConns = 1024
	maxIdle  = 64
)

// How long a connection may have been idle to be used. A call that must not be
// repeated takes only a fresh one, because an app may close an idle connection
// in the moment it is used: up to idleTrusted in any case, and up to
// idleLimitStrict if another one has been seen to live idleMargin times as
// long. The margin is wide because an app that is starved of CPU closes late
// once, and in time again. A watcher gives up a little later than anybody asks.
const (
	idleMargin      = 4
	idleLimit       = 60 * time.Second
	idleLimitStrict = time.Second
	idleTrusted     = 20 * time.Millisecond
	idleTimeout     = 75 * time.Second
)

// forgetAfter is how long an app's own idle limit, once seen, is believed.
const forgetAfter = time.Minute

var (
	errChoseHTTP2 = errors.New("the app chose HTTP/2")
	errPoolClosed = errors.New("the sidecar is stopping")
)

// pool are the HTTP/1.1 connections to the app.
type pool struct {
	place *place
	crew  *crew
	stale atomic.Int64 // calls that met a connection the app had just closed

	mu      sync.Mutex // guards what follows
	idle    []*conn    // the one used last at the end
	open    int
	waiting list.List // of chan *conn; nil is a permission to dial
	closed  bool
	// limit is the shortest time after which the app closed an idle connection.
	limit   time.Duration
	limitAt time.Time
	// lived is the longest that a connection was seen to be idle and open.
	lived time.Duration
}

// A conn is one HTTP/1.1 connection to the app. It belongs to one exchange, or
// to the pool while it is idle.
type conn struct {
	net.Conn
	br   *bufio.Reader
	host string // the app's own address
	spot *spot

	idleSince time.Time
	// watched is closed when the read that began while the connection was idle
	// has returned; fault is how. Nil on a connection that was never idle.
	watched chan struct{}
	fault   error
	uses    int // exchanges completed
}

func newPool(p *place, c *crew) *pool { return &pool{place: p, crew: c} }

// get returns a connection, which is an idle one if there is one whose
// idleness does not exceed limit. It waits while the app has all the
// connections it may have.
func (p *pool) get(ctx context.Context, limit time.Duration) (*conn, error) {
	for {
		c, wait, err := p.pick(limit)
		switch {
		case err != nil:
			return nil, err
		case wait != nil:
			return p.await(ctx, wait)
		case c == nil:
			return p.dial(ctx)
		case c.usable():
			return c, nil
		}
		p.discard(c)
	}
}

// pick returns an idle connection; or, if there are as many as there may be, a
// place among those who wait; or neither, and the caller may dial.
func (p *pool) pick(limit time.Duration) (*conn, *list.Element, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, errPoolClosed
	}
	if c := p.popFresh(limit); c != nil {
		return c, nil, nil
	}
	switch {
	case p.open < maxConns:
		p.open++
	case len(p.idle) > 0: // too old for this call: one of them makes room
		_ = p.idle[0].Close() // it is not needed
		p.idle = p.idle[1:]
	default:
		return nil, p.waiting.PushBack(make(chan *conn, 1)), nil
	}
	return nil, nil, nil
}

// await takes the connection, or the permission to dial, that comes to a place
// among those who wait.
func (p *pool) await(ctx context.Context, place *list.Element) (*conn, error) {
	given := place.Value.(chan *conn) //nolint:forcetypeassert // the list's only kind
	select {
	case c := <-given:
		if c == nil {
			return p.dial(ctx)
		}
		return c, nil
	case <-ctx.Done():
		p.abandon(place, given)
		return nil, context.Cause(ctx)
	}
}

// popFresh takes the connection used last, if it is not idle for too long. The
// lock is held.
func (p *pool) popFresh(limit time.Duration) *conn {
	if p.limit > 0 && time.Since(p.limitAt) < forgetAfter {
		limit = min(limit, p.limit/idleMargin)
	}
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	p.lived = max(p.lived, time.Since(p.idle[0].idleSince))
	if limit <= idleLimitStrict {
		limit = min(limit, max(idleTrusted, p.lived/idleMargin))
	}
	if time.Since(p.idle[n-1].idleSince) > limit {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// dial makes a connection, whose place is already counted.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	at := p.place.spot()
	c, host, err := p.place.dial(ctx)
	if err != nil {
		p.free()
		return nil, err
	}
	return &conn{Conn: c, br: bufio.NewReaderSize(c, 8<<10), host: host, spot: at}, nil
}

// free gives up a counted place: to who waits longest, if anybody does.
func (p *pool) free() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if next := p.waiting.Front(); next != nil {
		p.waiting.Remove(next).(chan *conn) <- nil
		return
	}
	p.open--
}

// abandon takes back a place among those who wait.
func (p *pool) abandon(at *list.Element, given chan *conn) {
	p.mu.Lock()
	select {
	case c := <-given:
		p.mu.Unlock()
		if c != nil {
			p.put(c)
		} else {
			p.free()
		}
	default:
		p.waiting.Remove(at)
		p.mu.Unlock()
	}
}

// put returns a connection whose exchange is complete.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	if p.closed || c.spot != p.place.spot() || c.br.Buffered() > 0 {
		p.mu.Unlock()
		p.discard(c)
		return
	}
	c.watched, c.fault = nil, nil
	c.uses++
	if next := p.waiting.Front(); next != nil {
		p.waiting.Remove(next).(chan *conn) <- c
		p.mu.Unlock()
		return
	}
	if len(p.idle) >= maxIdle {
		p.mu.Unlock()
		p.discard(c)
		return
	}
	c.idleSince = time.Now()
	c.watched = make(chan struct{})
	// Before anybody can take it: the call that does has no such deadline.
	_ = c.SetReadDeadline(c.idleSince.Add(idleTimeout)) // fails only if closed
	p.idle = append(p.idle, c)
	p.mu.Unlock()
	if !p.crew.run(func() { p.watch(c) }) {
		c.fault = errPoolClosed
		close(c.watched)
		p.drop(c)
	}
}

// watch reads ahead on an idle connection: its end drops it at once. If the
// connection is taken meanwhile, what the read finds is the answer.
func (p *pool) watch(c *conn) {
	_, err := c.br.Peek(1)
	c.fault = err
	close(c.watched)
	if p.drop(c) && (err == io.EOF || isReset(err)) {
		p.learn(time.Since(c.idleSince))
	}
}

// drop closes a connection if it is still idle.
func (p *pool) drop(c *conn) bool {
	p.mu.Lock()
	for i, other := range p.idle {
		if other == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			p.mu.Unlock()
			p.discard(c)
			return true
		}
	}
	p.mu.Unlock()
	return false
}

// learn notes that the app closed a connection that was idle for d.
func (p *pool) learn(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit == 0 || d < p.limit || time.Since(p.limitAt) >= forgetAfter {
		p.limit = d
	}
	p.limitAt = time.Now()
}

// forget drops what was learnt, and every idle connection: the app is a new
// one.
func (p *pool) forget() {
	p.mu.Lock()
	p.limit, p.lived = 0, 0
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		p.discard(c)
	}
}

// discard closes a connection that is nobody's any more.
func (p *pool) discard(c *conn) {
	_ = c.Close() // it is not needed, or broken
	p.free()
}

// close ends all idle connections; those in use end with their exchange.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.forget()
}

// usable reports whether an idle connection that was taken is still open.
func (c *conn) usable() bool {
	select {
	case <-c.watched:
		return false
	default:
	}
	if !quiet(tcpConn(c.Conn)) {
		return false
	}
	return c.SetReadDeadline(time.Time{}) == nil
}

// tcpConn is the TCP connection beneath c.
func tcpConn(c net.Conn) *net.TCPConn {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	return c.(*net.TCPConn) //nolint:forcetypeassert // we dialled TCP
}
