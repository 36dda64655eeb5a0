package h2

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// rounds is how many times somebody who has written writes what others have
// queued meanwhile, before a goroutine takes over.
const rounds = 4

// queue appends a frame. c.mu is held; the caller calls push or kick.
func (c *conn) queue(kind http2.FrameType, flags http2.Flags, id uint32, payload []byte) {
	before := len(c.out)
	c.makeRoom(len(payload))
	c.out = appendFrame(c.out, kind, flags, id, payload)
	c.queued += uint64(len(c.out) - before) //nolint:gosec // not negative
}

// queueNumber appends a frame whose payload is a number. c.mu is held.
func (c *conn) queueNumber(kind http2.FrameType, id uint32, n uint32) {
	payload := [4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} //nolint:gosec // its bytes
	c.queue(kind, 0, id, payload[:])
}

// queueHead appends the block in the encoder. c.mu is held.
func (c *conn) queueHead(id uint32, end bool) {
	before := len(c.out)
	c.makeRoom(len(c.enc.out))
	c.out = c.enc.appendHead(c.out, id, end)
	c.queued += uint64(len(c.out) - before) //nolint:gosec // not negative
}

// control queues a frame that may not wait, and has it written by somebody
// else: the reader calls it. A peer that makes us send many and does not read
// them is cut off.
func (c *conn) control(kind http2.FrameType, flags http2.Flags, id uint32, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out) > flood {
		return violated(http2.ErrCodeEnhanceYourCalm, "the peer does not read what it asks for")
	}
	c.queue(kind, flags, id, payload)
	c.kick()
	return nil
}

// push lets go of c.mu and writes what is queued, unless somebody is writing:
// that one will.
func (c *conn) push() {
	if c.writing || len(c.out) == 0 || c.broken != nil {
		c.mu.Unlock()
		return
	}
	c.writing = true
	several := len(c.streams) > 1
	c.mu.Unlock()
	if several {
		// Let those who are about to queue something do so: under load many
		// messages share a write.
		runtime.Gosched()
	}
	c.write(rounds)
}

// kick has what is queued written by somebody else. c.mu is held.
func (c *conn) kick() {
	if c.writing || len(c.out) == 0 || c.broken != nil {
		return
	}
	c.writing = true
	go c.write(0) // run waits for it
}

// write writes what is queued; the caller has set c.writing. After some rounds
// it leaves the rest to a goroutine, unless it is one: then limit is 0.
func (c *conn) write(limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := 1; len(c.out) > 0 && c.broken == nil; n++ {
		if limit > 0 && n > limit {
			go c.write(0) // run waits for it
			return
		}
		b := c.out
		c.out, c.spare = c.spare[:0], nil
		c.taken += uint64(len(b))
		c.letOn()
		if c.err != nil {
			c.hurry() // the last words' time is theirs, however long somebody took to come to them
		}
		c.mu.Unlock()
		_, err := c.nc.Write(b)
		c.mu.Lock()
		if cap(b) <= 2*gather {
			c.spare = b
		}
		if err != nil {
			c.unwritable(err)
		}
	}
	c.writing = false
	c.trim()
	c.parted()
	c.quiet.Broadcast()
}

// Sizes of the buffers that are written from: an idle connection has small
// ones.
const (
	smallOut = 4 << 10
	largeOut = gather + 2*frameLimit
)

var largeOuts = sync.Pool{New: func() any { return new([largeOut]byte) }}

// makeRoom makes the buffer large if a payload of n bytes is more than it
// holds. c.mu is held.
func (c *conn) makeRoom(n int) {
	if need := len(c.out) + n; need <= cap(c.out) || need <= smallOut || need > largeOut || cap(c.out) >= largeOut {
		return
	}
	c.out = append(largeOuts.Get().(*[largeOut]byte)[:0], c.out...)
}

// trim lets go of the buffers of a connection that is idle. c.mu is held.
func (c *conn) trim() {
	if len(c.streams) == 0 && len(c.out) == 0 {
		c.out, c.spare = trimmed(c.out), trimmed(c.spare)
	}
}

// trimmed is b, or nothing if it is large.
func trimmed(b []byte) []byte {
	if cap(b) == largeOut {
		largeOuts.Put((*[largeOut]byte)(b[:largeOut]))
	}
	if cap(b) > smallOut {
		return nil
	}
	return b
}

// unwritable notes that nothing can be written any more. What the peer has sent
// may prove that it has not taken a request, so the reader goes on for a
// moment. c.mu is held.
func (c *conn) unwritable(err error) {
	c.broken = err
	c.leaving = true
	c.out, c.spare = nil, nil
	if c.err == nil {
		_ = c.nc.SetReadDeadline(time.Now().Add(partingTime)) // a closed one has none
	}
	c.letOn()
}

// giveBack notes that n bytes of the connection's window are free again.
func (c *conn) giveBack(n int) {
	if n == 0 || c.returned.Add(int64(n)) < connPortion {
		return
	}
	back := c.returned.Swap(0)
	if back == 0 {
		return // somebody else has given it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause() == nil {
		c.unpaid.Add(-back)
		c.queueNumber(http2.FrameWindowUpdate, 0, uint32(back)) //nolint:gosec // bounded by the window
		c.kick()
	}
}

// consumed notes that n bytes have been read or dropped, and back bytes of the
// stream's window are free again.
func (c *conn) consumed(s *stream, n, back int) {
	if n > 0 {
		c.held.Add(int64(-n))
		if c.withheld.Load() > 0 {
			c.giveBack(c.release(n))
		}
	}
	if back == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.id] != s || c.cause() != nil {
		return
	}
	c.queueNumber(http2.FrameWindowUpdate, s.id, uint32(back)) //nolint:gosec // bounded by the window
	c.kick()
}

// release takes up to n bytes out of what was withheld.
func (c *conn) release(n int) int {
	for {
		have := c.withheld.Load()
		k := min(have, int64(n))
		if k <= 0 {
			return 0
		}
		if c.withheld.CompareAndSwap(have, have-k) {
			return int(k)
		}
	}
}

// watchStuck ends the connection if what is being written is not taken for a
// long time.
func (c *conn) watchStuck() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stuck != nil || c.err != nil {
		return
	}
	taken := c.taken
	c.stuck = time.AfterFunc(stuckTime, func() {
		c.mu.Lock()
		still := c.writing && c.taken == taken
		c.stuck = nil
		c.mu.Unlock()
		if still {
			c.end(errStuck)
		}
	})
}
