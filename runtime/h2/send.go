package h2

import (
	"slices"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A message is something to be sent on a stream in one piece as far as the
// peer's windows let it.
type message struct {
	// open, if not nil, is called under the lock before the head is queued.
	open func() error
	// head, if not nil, puts a head into the encoder.
	head     func(e *encoder)
	data     []byte
	trailers invoke.Fields
	end      bool
}

// send sends m, waiting for the peer as it must. It is used by one goroutine of
// a stream at a time.
func (s *stream) send(m *message) error {
	c := s.c
	c.mu.Lock()
	if m.head != nil {
		if err := s.openHead(m); err != nil {
			c.mu.Unlock()
			return err
		}
	}
	for len(m.data) > 0 {
		if err := s.sendData(m); err != nil {
			c.push()
			return err
		}
	}
	if err := s.sayable(); err != nil {
		c.push()
		return err
	}
	if m.end && !s.sentEnd {
		s.sendEnd(m)
	}
	c.push()
	return nil
}

// openHead queues m's head. c.mu is held, and let go while waiting.
func (s *stream) openHead(m *message) error {
	if err := s.admit(); err != nil {
		return err
	}
	if m.open != nil {
		if err := m.open(); err != nil {
			return err
		}
	}
	s.c.enc.begin()
	m.head(s.c.enc)
	end := m.end && len(m.data) == 0 && len(m.trailers) == 0
	s.c.queueHead(s.id, end)
	if end {
		s.ended()
	}
	return nil
}

// sendData queues the next piece of m's data. c.mu is held, and let go while
// waiting.
func (s *stream) sendData(m *message) error {
	if err := s.credit(); err != nil {
		return err
	}
	c := s.c
	n := int(min(int64(len(m.data)), frameLimit, s.window, c.window, gather))
	last := m.end && n == len(m.data) && len(m.trailers) == 0
	flags := http2.Flags(0)
	if last {
		flags = http2.FlagDataEndStream
	}
	s.window -= int64(n)
	c.window -= int64(n)
	c.useless = 0
	c.queue(http2.FrameData, flags, s.id, m.data[:n])
	m.data = m.data[n:]
	if last {
		s.ended()
	}
	return nil
}

// sendEnd queues the end of our direction. c.mu is held.
func (s *stream) sendEnd(m *message) {
	c := s.c
	if len(m.trailers) == 0 {
		c.queue(http2.FrameData, http2.FlagDataEndStream, s.id, nil)
	} else {
		c.enc.begin()
		c.enc.fields(m.trailers, nil)
		c.queueHead(s.id, true)
	}
	s.ended()
}

// ended notes that our direction has ended. c.mu is held.
func (s *stream) ended() {
	s.sentEnd = true
	if s.gotEnd {
		s.c.forget(s)
	}
}

// sayable is why nothing can be sent any more. c.mu is held.
func (s *stream) sayable() error {
	if s.stopped != nil {
		return s.stopped
	}
	if err := s.c.cause(); err != nil {
		return &Error{Err: err}
	}
	return nil
}

// admit waits until there is room for a frame. c.mu is held, and let go while
// waiting.
func (s *stream) admit() error { return s.await(false) }

// credit waits until some data may be sent. c.mu is held, and let go while
// waiting.
func (s *stream) credit() error { return s.await(true) }

// may reports whether a frame can be queued, or some data.
func (s *stream) may(data bool) bool {
	return len(s.c.out) < gather && (!data || !s.starved())
}

// starved reports whether the peer's windows are used up.
func (s *stream) starved() bool { return s.window <= 0 || s.c.window <= 0 }

// await waits until a frame can be queued, or some data. c.mu is held, and let
// go while waiting.
func (s *stream) await(data bool) error {
	c := s.c
	for {
		if err := s.sayable(); err != nil {
			return err
		}
		if s.may(data) {
			return nil
		}
		if !c.writing && len(c.out) > 0 {
			// What is queued is what it waits for, or must not wait with it.
			c.push()
			c.mu.Lock()
			continue
		}
		s.hungry = data
		if !s.blocked {
			s.blocked = true
			c.blocked = append(c.blocked, s)
		}
		s.room.Wait()
	}
}

// letOn wakes those who wait to send and may. c.mu is held.
func (c *conn) letOn() {
	if len(c.blocked) == 0 {
		return
	}
	dead := c.cause() != nil
	kept := c.blocked[:0]
	for _, s := range c.blocked {
		if !dead && s.stopped == nil && s.hungry && s.starved() {
			kept = append(kept, s)
			continue
		}
		s.blocked = false
		s.room.Broadcast()
	}
	clear(c.blocked[len(kept):])
	c.blocked = kept
}

func (c *conn) unblock(s *stream) {
	s.blocked = false
	if i := slices.Index(c.blocked, s); i >= 0 {
		c.blocked = slices.Delete(c.blocked, i, i+1)
	}
}
