package mesh

import (
	"context"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// A client is our side of a link that we dialled.
type client struct {
	*link
	name     peerName
	peer     identity.ID
	greeting greeting
	// state is told what the peer says of itself; ended is called once.
	state func(instance string, s discovery.State)
	// freed is told when the link may take a call again.
	freed func()
	// uploads counts the goroutines that read bodies of calls.
	uploads sync.WaitGroup
}

func (c *client) frame(h header, payload []byte) error {
	switch h.kind {
	case kindLeaving:
		last, err := number(payload, 1<<32-1)
		if err != nil {
			return violated("leaving: %v", err)
		}
		c.left(last)
		return nil
	case kindState:
		c.state(c.greeting.instance, discovery.State(printable(string(payload))))
		return nil
	case kindContinue, kindReached, kindRefused, kindInfo, kindHead, kindStop:
		if o := c.outgoing(h.call); o != nil {
			return o.frame(h, payload)
		}
		if h.call > c.highest() {
			return violated("an answer to call %d, which has not begun", h.call)
		}
	}
	return nil
}

// outgoing is the open call of that number.
func (c *client) outgoing(call uint32) *outgoing {
	s := c.stream(call)
	if s == nil {
		return nil
	}
	o, _ := s.end.(*outgoing)
	return o
}

// left ends the calls that the leaving peer proves it has not taken.
func (c *client) left(last uint64) {
	c.mu.Lock()
	c.leaving, c.parting = true, true
	var lost []*outgoing
	for id, s := range c.streams {
		if o, ok := s.end.(*outgoing); ok && uint64(id) > last {
			lost = append(lost, o)
			c.forgetLocked(s)
		}
	}
	c.mu.Unlock()
	c.signal()
	for _, o := range lost {
		o.fail(&apperr.Error{
			Reason: apperr.Refused, What: c.name.app + " is stopping", Cause: c.name.addr + " takes no new calls",
			Reached:  invoke.Evidence{AboveLeaving: true}.Reached(),
			Instance: c.name.instance,
		})
	}
}

func (c *client) lost(s *stream, err error, notWritten bool) {
	if o, ok := s.end.(*outgoing); ok {
		o.fail(c.name.broken(err, invoke.Evidence{NotWritten: notWritten}))
	}
}

func (c *client) retire() { c.part() }

func (c *client) idle(d time.Duration) {
	if d >= idleTime {
		c.part()
	}
}

// hasRoom reports whether the link takes one more call now.
func (c *client) hasRoom() bool {
	return c.isUsable() && c.open() < c.greeting.calls
}

// lastCall is the highest number of a call on one link.
const lastCall = 1<<31 - 1

// start queues the head of a call, and with it all of its body if that is there
// and small. errUnused means that the link does not take it and that nothing
// was queued.
func (c *client) start(ctx context.Context, o *outgoing, head callHead) error {
	size := head.size()
	if size > maxHead {
		if size = len(head.append(nil)); size > maxHead {
			return headTooLarge(size)
		}
	}
	c.mu.Lock()
	err := c.admit(headerSize+size, ctx)
	switch {
	case err == errStopped: //nolint:errorlint // never wrapped
		c.mu.Unlock()
		return given(ctx, c.name.app, invoke.Evidence{NotWritten: true})
	case err != nil || c.leaving || len(c.streams) >= c.greeting.calls:
		c.out.letIn()
		c.mu.Unlock()
		return errUnused
	}
	o.start = c.out.queued
	c.begin(&o.stream, c.last+1)
	if c.last == lastCall {
		c.leaving, c.parting = true, true
	}
	c.queueCall(o, head)
	c.unlockAndWrite()
	return nil
}

// queueCall queues what there is of a call. c.mu is held.
func (c *client) queueCall(o *outgoing, head callHead) {
	body := head.call.Body
	k := kindCall
	if body == nil && head.call.Upgrade == "" {
		k |= flagEnd
	}
	frame := c.out.open(k, o.id)
	c.out.buf = head.append(c.out.buf)
	c.out.close(frame)
	if body == nil {
		return
	}
	if rest, trailers, ok := invoke.Complete(body); ok && !head.call.Expect && c.queueWhole(&o.stream, rest, trailers) {
		o.whole = true
		return
	}
	c.uploads.Add(1)
}

func headTooLarge(size int) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.HeadTooLarge, What: "the request's head is too large",
		Cause:   sized(size),
		Reached: invoke.Evidence{NotWritten: true}.Reached(),
	}
}
