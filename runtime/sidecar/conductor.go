package sidecar

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sources"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

const (
	// firstRest is how long an app that has ended is left alone before it is
	// started again; each time in a row it is twice as long.
	firstRest = 100 * time.Millisecond
	// maxCrashes in a row are answered with a new start. An app that ran for
	// stableAfter begins anew.
	maxCrashes  = 5
	stableAfter = 10 * time.Second
	// lastWords is how long what an app said last is waited for, where others
	// that it started still have its output.
	lastWords = 2 * time.Second
)

// A renewal is a reason to replace the app's process.
type renewal struct {
	// changes are those of its sources; crashed is true if it has ended by
	// itself. Neither: somebody asked for it, or it is the first start.
	changes sources.Changes
	crashed bool
	// asked get how it went. They have room for it.
	asked []chan error
}

// joined is both renewals in one.
func (r renewal) joined(later renewal) renewal {
	later.changes = both(r.changes, later.changes)
	later.crashed = r.crashed && later.crashed
	later.asked = append(r.asked, later.asked...)
	return later
}

// A conductor decides when the app's process is replaced; one at a time is. It
// belongs to one goroutine, beside which runs what it has begun.
type conductor struct {
	s *sidecar

	done   chan error // gets how the renewal under way went; nil without one
	cancel context.CancelFunc
	now    renewal
	before *process // when it began
	next   *renewal // to begin once the one under way has ended

	crashes int              // in a row
	due     bool             // what has ended is to be started again
	rested  <-chan time.Time // when it is; nil while something else comes first
	seen    *process         // whose end has been dealt with
}

// close ends what is under way and waits for it.
func (c *conductor) close() {
	if c.done != nil {
		c.cancel()
		err := <-c.done
		if err != nil {
			err = errStopping
		}
		c.tell(c.now, err)
	}
	if c.next != nil {
		c.tell(*c.next, errStopping)
	}
}

// begin replaces the app's process, or has it done next. It ends with parts.
func (c *conductor) begin(parts context.Context, r renewal) {
	c.rested = nil
	if c.done != nil {
		if c.next != nil {
			r = c.next.joined(r)
		}
		c.next = &r
		if len(r.changes.Paths) > 0 && c.s.discardable.Load() {
			c.cancel() // what it makes is old already
		}
		return
	}
	c.now, c.before = r, c.s.process()
	ctx, cancel := context.WithCancel(parts)
	done := make(chan error, 1)
	c.done, c.cancel = done, cancel
	go func() {
		defer cancel()
		done <- c.s.renew(ctx, r)
	}()
}

// finished takes how the renewal went. It returns an error if there is nothing
// left to conduct.
func (c *conductor) finished(parts context.Context, err error) error {
	r, next := c.now, c.next
	c.done, c.next = nil, nil
	if next != nil && errors.Is(err, context.Canceled) {
		c.begin(parts, r.joined(*next))
		return nil
	}
	c.tell(r, err)
	if err != nil {
		err = c.failed(err)
	}
	if next != nil {
		c.begin(parts, *next)
		return nil
	}
	return err
}

// failed deals with a renewal that has left no process: there is another try, or
// one at the next change. It returns an error if nothing will run any more.
func (c *conductor) failed(err error) error {
	s, p := c.s, c.s.process()
	if p != c.before || p != nil && !p.isOver() {
		return nil // something serves, or the end of a new one is dealt with next
	}
	e := apperr.From(err)
	n := Notice{Kind: Failed, Text: e.What, Cause: e.Cause, Hint: e.Hint}
	if p != nil && p != c.seen && !p.asked.Load() {
		s.say(n) // it has ended by itself meanwhile, which is dealt with next
		return nil
	}
	due, stopped := c.due && p == c.seen, p != nil && p != c.seen // by us
	switch {
	case due && !c.now.crashed:
		c.crashes-- // what failed came between, and was not the start that is due
	case stopped:
		c.crashes = 0
	}
	c.see(p)
	if (due || stopped && s.restarts()) && c.rest(&n) {
		s.say(n)
		return nil
	}
	if !s.watches() {
		return err
	}
	s.app().Failed(whyOf(e))
	s.say(n)
	return nil
}

// rest has the app started again after a while, and says so in n; not if that
// was tried often enough.
func (c *conductor) rest(n *Notice) bool {
	if c.due = c.crashes < maxCrashes; !c.due {
		c.crashes = 0
		return false
	}
	wait := firstRest << c.crashes
	c.crashes++
	c.rested = time.After(wait)
	c.s.app().Restarting()
	n.Facts = append(n.Facts, "starting it again in "+wait.String(), fmt.Sprintf("%d of %d", c.crashes, maxCrashes))
	return true
}

// tell answers those who asked for r.
func (c *conductor) tell(r renewal, err error) {
	for _, to := range r.asked {
		to <- err
	}
}

// ended is closed when the app's process has ended and nobody has dealt with
// that.
func (c *conductor) ended() <-chan struct{} {
	p := c.s.process()
	if p == nil || p == c.seen || c.done != nil {
		return nil
	}
	return p.Ended()
}

// comesBack deals with a process that has ended by itself, and reports whether
// there may be another one.
func (c *conductor) comesBack() bool {
	s, p := c.s, c.s.process()
	c.see(p)
	exit, _ := p.Exit()
	n := Notice{Text: s.cfg.AppID + " ended", Facts: []string{exit.String()}}
	if exit.Code != 0 {
		n.Kind = Failed
	}
	if time.Since(p.began) >= stableAfter {
		c.crashes = 0
	}
	comesBack := again(s.cfg.Restart, exit.Code)
	if comesBack {
		n.Facts = append(n.Facts, "ran "+human.Took(time.Since(p.began)))
		if c.rest(&n) {
			s.say(n)
			return true
		}
	}
	if s.watches() {
		s.app().Failed(exit.String())
	}
	switch {
	case comesBack:
		s.sayLoop(p, exit)
	case s.watches():
		n.Facts = append(n.Facts, "waiting for a change")
		s.say(n)
	}
	return s.watches()
}

// see notes that p has ended, or nil that there is none, and is dealt with.
func (c *conductor) see(p *process) {
	c.seen, c.due = p, false
	c.s.updateEntry(func(e *rundir.Entry) { e.AppPID = 0 }) // it may be another's by now
}

// again reports whether an app that ended with code is started again.
func again(policy config.RestartPolicy, code int) bool {
	return policy == config.RestartAlways || policy == config.RestartOnFailure && code != 0
}

// sayLoop says that the app is not started again, and what it said last.
func (s *sidecar) sayLoop(p *process, exit supervisor.Exit) {
	select {
	case <-p.Done():
	case <-time.After(lastWords):
	}
	n := Notice{
		Kind: Failed, Text: s.cfg.AppID + " ended again and again",
		Facts: []string{exit.String(), fmt.Sprintf("%d times in a row", maxCrashes+1)},
		Lines: p.last.last(),
		Hint:  "pillion logs " + s.cfg.AppID + " has all it said",
	}
	if s.watches() {
		n.Facts = append(n.Facts, "waiting for a change")
	} else {
		n.Facts = append(n.Facts, "not started again")
	}
	s.say(n)
}
