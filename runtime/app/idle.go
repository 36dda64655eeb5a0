package app

import (
	"errors"
	"io"
	"slices"
	"time"
)

// How long a connection may have been idle to be used. A call that must not be
// repeated takes only a fresh one, because an app may close an idle connection
// in the moment it is used: up to idleTrusted in any case, and up to
// idleLimitStrict if another one has been seen to live idleMargin times as
// long. The margin is wide because an app that is starved of CPU closes late
// once, and in time again. None is kept for longer than idleTimeout, which is
// a little more than anybody asks for.
const (
	idleMargin      = 4
	idleLimit       = 60 * time.Second
	idleLimitStrict = time.Second
	idleTrusted     = 20 * time.Millisecond
	idleTimeout     = 75 * time.Second
)

// forgetAfter is how long an app's own idle limit, once seen, is believed.
const forgetAfter = time.Minute

// How often idle connections are looked at: often while one of them is fresh,
// so that an app's own limit is known well, and seldom once all are old. A look
// costs a third of a microsecond.
const (
	sweepSoon = 25 * time.Millisecond
	sweepLate = 500 * time.Millisecond
)

// habits are what is known of how an app treats idle connections.
type habits struct {
	// limit is the shortest time after which it closed one; at is when that was
	// seen last.
	limit time.Duration
	at    time.Time
	// lived is the longest that one was seen to be idle and open.
	lived time.Duration
}

// trusted is how long a connection may have been idle to be used by a call
// that allows for limit.
func (h *habits) trusted(limit time.Duration, now time.Time) time.Duration {
	if h.limit > 0 && now.Sub(h.at) < forgetAfter {
		limit = min(limit, h.limit/idleMargin)
	}
	if limit <= idleLimitStrict {
		limit = min(limit, max(idleTrusted, h.lived/idleMargin))
	}
	return limit
}

// closed notes that the app closed a connection after it was seen to be open
// last, and by now.
func (h *habits) closed(idle idleness, now time.Time) {
	d := max(idle.quiet.Sub(idle.since), now.Sub(idle.since)/idleMargin)
	if h.limit == 0 || d < h.limit || now.Sub(h.at) >= forgetAfter {
		h.limit = d
	}
	h.at = now
}

// usable reports whether an idle connection that was taken is still open.
func (p *pool) usable(c *conn) bool {
	if c.idle.watched != nil {
		select {
		case <-c.idle.watched:
			return false
		default:
			return c.SetReadDeadline(time.Time{}) == nil
		}
	}
	if c.idle.since.IsZero() {
		return true // it never was idle
	}
	if !c.sight.quiet() {
		p.learn(c.idle)
		return false
	}
	return true
}

// sweepSoon makes sure that a connection which has just become idle is looked
// at soon. The lock is held.
func (p *pool) sweepSoon(now time.Time) {
	at := now.Add(sweepSoon)
	switch {
	case p.sweeper == nil:
		p.sweeper = time.AfterFunc(sweepSoon, p.sweep)
	case p.sweepAt.IsZero() || at.Before(p.sweepAt):
		p.sweeper.Reset(sweepSoon)
	default:
		return
	}
	p.sweepAt = at
}

// rest ends the sweeping until a connection becomes idle. The lock is held.
func (p *pool) rest() {
	if p.sweeper != nil {
		p.sweeper.Stop()
	}
	p.sweepAt = time.Time{}
}

// sweep looks at the idle connections and closes those that the app has closed
// or that nobody will use.
func (p *pool) sweep() {
	if !p.crew.join() {
		return
	}
	defer p.crew.done()
	now := time.Now()
	p.mu.Lock()
	var gone []*conn
	surplus := len(p.idle) - maxIdle
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		over := p.over(c, now, surplus)
		surplus--
		if over {
			gone = append(gone, c)
		}
		return over
	})
	if n := len(p.idle); n == 0 || p.closed {
		p.rest()
	} else {
		next := min(max(now.Sub(p.idle[n-1].idle.since)/idleMargin, sweepSoon), sweepLate)
		p.sweeper.Reset(next)
		p.sweepAt = now.Add(next)
	}
	p.mu.Unlock()
	for _, c := range gone {
		p.discard(c)
	}
}

// over reports whether an idle connection is not wanted any more. The first
// surplus ones are more than may stay. The lock is held.
func (p *pool) over(c *conn, now time.Time, surplus int) bool {
	age := now.Sub(c.idle.since)
	switch {
	case age < idleTrusted:
		return false
	case !c.sight.quiet():
		p.habits.closed(c.idle, now)
		return true
	}
	c.idle.quiet = now
	p.habits.lived = max(p.habits.lived, age)
	return age > idleTimeout || (surplus > 0 && age > idleSurplus)
}

// watched makes a connection idle that has to be watched: a goroutine reads
// ahead on it, and its end drops it at once. If the connection is taken
// meanwhile, what the read finds is the answer. The lock is held, and released.
func (p *pool) watched(c *conn) {
	if len(p.idle) >= maxIdle {
		p.mu.Unlock()
		p.discard(c)
		return
	}
	c.idle.watched = make(chan struct{})
	// Before anybody can take it: the call that does has no such deadline.
	_ = c.SetReadDeadline(c.idle.since.Add(idleTimeout)) // fails only if closed
	p.idle = append(p.idle, c)
	p.mu.Unlock()
	if !p.crew.run(func() { p.watch(c) }) {
		c.idle.fault = errPoolClosed
		close(c.idle.watched)
		p.drop(c)
	}
}

func (p *pool) watch(c *conn) {
	since := c.idle.since
	err := c.fill()
	c.idle.fault = err
	close(c.idle.watched)
	if p.drop(c) && (errors.Is(err, io.EOF) || isReset(err)) {
		p.learn(idleness{since: since, quiet: time.Now()})
	}
}

// drop closes a connection if it is still idle.
func (p *pool) drop(c *conn) bool {
	p.mu.Lock()
	idle := p.take(c)
	p.mu.Unlock()
	if idle {
		p.discard(c)
	}
	return idle
}
