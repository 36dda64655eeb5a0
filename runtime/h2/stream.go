package h2

import (
	"sync"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A stream is one exchange on a connection.
type stream struct {
	c     *conn
	owner owner
	id    uint32
	in    inbox
	due   bool // the reader will wake it

	// What follows is guarded by the connection's lock.
	start   uint64 // where the exchange begins in what was queued
	window  int64  // what the peer takes
	stopped *Error // why nothing is to be sent any more
	sentEnd bool
	gotEnd  bool
	blocked bool      // it waits to send
	hungry  bool      // for the peer's windows too
	room    sync.Cond // it may go on sending
}

func (s *stream) init(c *conn, o owner) {
	s.c, s.owner = c, o
	s.in.init()
	s.room.L = &c.mu
}

// stopLocked ends our sending because of e. c.mu is held.
func (s *stream) stopLocked(e *Error) {
	if s.stopped == nil {
		s.stopped = e
	}
	if s.blocked {
		s.c.unblock(s)
	}
	s.room.Broadcast()
}

// fail ends the exchange for those who wait for it.
func (s *stream) fail(e *Error) {
	s.in.fail(e)
	s.owner.broken(e)
}

// reset ends the exchange and tells the peer so. It does nothing to one that
// is over. It does not wait: a peer that does not read is cut off.
func (s *stream) reset(code http2.ErrCode, e *Error) {
	c := s.c
	c.mu.Lock()
	open := c.forget(s) && c.err == nil
	s.stopLocked(e)
	if open && c.broken == nil {
		c.queueNumber(http2.FrameRSTStream, s.id, uint32(code))
		c.kick()
	}
	flooded := len(c.out) > flood
	stuck := c.writing
	c.mu.Unlock()
	switch {
	case flooded:
		c.end(violated(http2.ErrCodeEnhanceYourCalm, "the peer does not read what it asks for"))
	case stuck && open:
		c.watchStuck()
	}
}

// A bodyOf is what comes on a stream as an invoke.Body.
type bodyOf struct {
	s *stream
	// before, if not nil, is called before the first wait for bytes.
	before func()
	close  func()
}

func (b *bodyOf) Read(p []byte) (int, error) {
	if b.before != nil {
		b.before()
	}
	n, back, err := b.s.in.take(p)
	b.s.c.consumed(b.s, n, back)
	return n, err
}

// Close drops what is unread.
func (b *bodyOf) Close() error {
	b.s.c.consumed(b.s, b.s.in.shut(errFinished), 0)
	if b.close != nil {
		b.close()
	}
	return nil
}

func (b *bodyOf) Trailers() invoke.Fields { return b.s.in.behind() }

// Whole is the rest of the body if it has come.
func (b *bodyOf) Whole() ([]byte, bool) {
	rest, trailers, ok := b.s.in.rest()
	return rest, ok && len(trailers) == 0
}

// Complete is the rest of the body and the trailers if they have come.
func (b *bodyOf) Complete() ([]byte, invoke.Fields, bool) { return b.s.in.rest() }
