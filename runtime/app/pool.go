package app

import (
	"container/list"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/callctx"
)

// Bounds of the connections to one app. In a burst more than maxIdle may be
// idle, but none of the surplus for longer than idleSurplus.
const (
	maxConns    = 1024
	maxIdle     = 64
	idleSurplus = time.Second
)

var (
	errChoseHTTP2 = errors.New("the app chose HTTP/2")
	errPoolClosed = errors.New("the sidecar is stopping")
)

// A dialer makes a pool's connections.
type dialer interface {
	// dial connects, and returns what the Host of the connection's calls is.
	dial(ctx context.Context) (c net.Conn, host string, err error)
	// spot is where dial leads now. A connection that leads to another one is
	// not used again.
	spot() *spot
}

// pool are the HTTP/1.1 connections to the app.
type pool struct {
	dialer dialer
	crew   *crew
	looks  bool         // whether idle connections are looked at; else they are watched
	stale  atomic.Int64 // calls that met a connection the app had just closed

	mu      sync.Mutex // guards what follows
	idle    []*conn    // the one used last at the end
	open    int
	waiting list.List // of chan *conn; nil is a permission to dial
	closed  bool
	habits  habits
	sweeper *time.Timer // nil before the first connection is idle
	sweepAt time.Time   // zero: not at all
	// asked is since when a call waits on a new connection beside idle ones, and
	// relieved when those were closed because of it.
	asked, relieved time.Time
}

func newPool(d dialer, c *crew) *pool { return &pool{dialer: d, crew: c, looks: canLook} }

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
		case p.usable(c):
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
		return nil, callctx.Cause(ctx)
	}
}

// popFresh takes the connection used last, if it is not idle for too long. The
// lock is held.
func (p *pool) popFresh(limit time.Duration) *conn {
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	now := time.Now()
	c := p.idle[n-1]
	if !p.looks { // the watch has dropped what is not open
		p.habits.lived = max(p.habits.lived, now.Sub(p.idle[0].idle.since))
	}
	if now.Sub(c.idle.since) > p.habits.trusted(limit, now) {
		return nil
	}
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// dial makes a connection, whose place is already counted.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	p.clear()
	at := p.dialer.spot()
	c, host, err := p.dialer.dial(ctx)
	if err != nil {
		p.free()
		return nil, err
	}
	p.began()
	return newConn(c, host, at), nil
}

// clear closes the idle connections to an app that serves one at a time.
func (p *pool) clear() {
	p.mu.Lock()
	var idle []*conn
	if p.habits.single {
		idle, p.idle = p.idle, nil
	}
	p.mu.Unlock()
	for _, c := range idle {
		p.discard(c)
	}
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
	if c.r != c.w { // more than an answer came
		p.discard(c)
		return
	}
	c.letGo()
	p.mu.Lock()
	if p.closed || c.spot != p.dialer.spot() {
		p.mu.Unlock()
		p.discard(c)
		return
	}
	c.uses++
	c.idle = idleness{}
	if next := p.waiting.Front(); next != nil {
		p.waiting.Remove(next).(chan *conn) <- c
		p.mu.Unlock()
		return
	}
	now := time.Now()
	c.idle.since = c.idleSince(now)
	c.idle.quiet = c.idle.since
	if p.looks {
		p.idle = append(p.idle, c)
		p.sweepBy(now, sweepSoon)
		p.mu.Unlock()
		return
	}
	p.watched(c)
}

// take removes a connection that is idle. The lock is held.
func (p *pool) take(c *conn) bool {
	for i, other := range p.idle {
		if other == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return true
		}
	}
	return false
}

// learn notes that the app closed an idle connection.
func (p *pool) learn(idle idleness) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.habits.closed(idle, time.Now())
}

// forget drops what was learnt, and every idle connection: the app is a new
// one.
func (p *pool) forget() {
	p.mu.Lock()
	p.habits, p.asked, p.relieved = habits{}, time.Time{}, time.Time{}
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
	p.rest()
	p.mu.Unlock()
	p.forget()
}
