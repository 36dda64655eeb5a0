package app

import (
	"errors"
	"io"
	"slices"
	"time"
)

// How long a connection may have been idle to be used. A call that must not be
// repeated takes only a fresh one, because an app may close an idle connection
// in the moment it is used: none before one has been seen to live for
// idleTrusted, which is what is trusted from then on, and up to idleLimitStrict
// if one has been seen to live idleMarginStrict times as long. The margin is
// wide because an app that is starved of CPU closes late once, six times its
// limit on a machine with a load of 30, and in time again. None is kept for
// longer than idleTimeout, which is a little more than anybody asks for.
const (
	idleMargin       = 4
	idleMarginStrict = 16
	idleRefuted      = 16 // so many limits alive: it is none
	idleLimit        = 60 * time.Second
	idleLimitStrict  = time.Second
	idleTrusted      = 20 * time.Millisecond
	idleTimeout      = 75 * time.Second
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
	// single says that the app does not serve a connection while another one is
	// open.
	single bool
}

// trusted is how long a connection may have been idle to be used by a call
// that allows for limit.
func (h *habits) trusted(limit time.Duration, now time.Time) time.Duration {
	known := h.limit > 0 && now.Sub(h.at) < forgetAfter
	switch {
	case limit > idleLimitStrict && known:
		return min(limit, h.limit/idleMargin)
	case limit > idleLimitStrict:
		return limit
	case h.lived < idleTrusted, known && h.limit < idleTrusted:
		return -1 // it may close each one behind its answer, and not say so
	case known:
		limit = min(limit, h.limit/idleMarginStrict)
	}
	return min(limit, max(idleTrusted, h.lived/idleMarginStrict))
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

// open notes that an idle connection was seen to be open. One that lives far
// beyond the limit that was seen before shows that it was no limit: the app was
// replaced, say, and closed whatever it had.
func (h *habits) open(idle idleness, now time.Time) {
	age := now.Sub(idle.since)
	h.lived = max(h.lived, age)
	if idle.since.After(h.at) && age > idleRefuted*max(h.limit, idleTrusted) {
		h.limit = 0
	}
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

// sweepBy makes sure that the idle connections are looked at within d. The lock
// is held.
func (p *pool) sweepBy(now time.Time, d time.Duration) {
	at := now.Add(d)
	switch {
	case p.sweeper == nil:
		p.sweeper = time.AfterFunc(d, p.sweep)
	case p.sweepAt.IsZero() || at.Before(p.sweepAt):
		p.sweeper.Reset(d)
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
	late := now.Sub(p.sweepAt) > idleTrusted
	gone := p.makeWay(now)
	surplus := len(p.idle) - maxIdle
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		over := p.over(c, now, late)
		if age := now.Sub(c.idle.since); age > idleTimeout || (surplus > 0 && age > idleSurplus) {
			over = true
		}
		surplus--
		if over {
			gone = append(gone, c)
		}
		return over
	})
	p.rest()
	if n := len(p.idle); n > 0 && !p.closed {
		next := min(max(now.Sub(p.idle[n-1].idle.since)/idleMargin, sweepSoon), sweepLate)
		if !p.asked.IsZero() {
			next = min(next, patience)
		}
		p.sweepBy(now, next)
	}
	p.mu.Unlock()
	for _, c := range gone {
		p.discard(c)
	}
}

// over reports whether the app has closed an idle connection. A sweep that
// comes late, on a machine that has too much to do, does not show how long the
// app lets one live. The lock is held.
func (p *pool) over(c *conn, now time.Time, late bool) bool {
	switch {
	case now.Sub(c.idle.since) < idleTrusted:
		return false
	case !c.sight.quiet():
		p.habits.closed(c.idle, now)
		return true
	}
	c.idle.quiet = now
	if !late {
		p.habits.open(c.idle, now)
	}
	return false
}

// A simple app serves one connection until it ends and then the next: there a
// new one waits as long as an idle one is open. So the idle ones are closed if
// the answer on a new one takes longer than patience; and if it then comes
// within relief, the app is known to be such a one.
const (
	patience = 100 * time.Millisecond
	relief   = 50 * time.Millisecond
)

// began notes that a call is on a new connection.
func (p *pool) began() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) > 0 && p.asked.IsZero() {
		now := time.Now()
		p.asked = now
		p.sweepBy(now, patience)
	}
}

// heard notes that a new connection has been answered on.
func (p *pool) heard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.relieved.IsZero() && time.Since(p.relieved) < relief {
		p.habits.single = true
	}
	p.asked, p.relieved = time.Time{}, time.Time{}
}

// makeWay takes the idle connections away if a call waits on a new one. The
// lock is held.
func (p *pool) makeWay(now time.Time) (gone []*conn) {
	if p.asked.IsZero() || len(p.idle) == 0 {
		return nil
	}
	if left := patience - now.Sub(p.asked); left > 0 {
		return nil
	}
	gone, p.idle = p.idle, nil
	p.asked, p.relieved = time.Time{}, now
	return gone
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
