package mesh

import (
	"errors"
	"runtime"
	"time"
)

// An outbox is what waits to be written on a link. Calls append frames to it
// and one goroutine writes all there is at once, so under load many calls
// share a TLS record and a system call. The link's mutex guards it.
type outbox struct {
	buf     []byte  // what the writer takes next; begins at a frame
	spare   []byte  // the buffer written last
	granted int     // room promised to turns that were let in
	turns   []*turn // calls that wait for room, first come first
	queued  uint64  // bytes appended since the link began
	taken   uint64  // bytes the writer has taken since the link began
}

// A turn is a call's place in the line for room.
type turn struct {
	size int
	let  chan struct{}
	in   bool
}

var errStopped = errors.New("stopped")

// admit waits for room for size bytes. l.mu is held before and after; it is
// let go while waiting, so what was known before has to be looked at again. A
// nil stop never ends the waiting. Whoever was admitted queues something or
// calls letIn: the next in line waits for that.
func (l *link) admit(size int, stop <-chan struct{}) error {
	if l.err != nil {
		return l.err
	}
	o := &l.out
	if len(o.turns) == 0 && len(o.buf)+o.granted < gather {
		return nil
	}
	t := &turn{size: size, let: make(chan struct{})}
	o.turns = append(o.turns, t)
	l.mu.Unlock()
	var err error
	select {
	case <-t.let:
	case <-stop:
		err = errStopped
	case <-l.done:
	}
	l.mu.Lock()
	if t.in {
		o.granted -= size
	} else {
		o.leave(t)
	}
	if l.err != nil {
		return l.err
	}
	if err != nil {
		o.letIn()
	}
	return err
}

// letIn lets as many turns in as there is room for.
func (o *outbox) letIn() {
	for len(o.turns) > 0 && len(o.buf)+o.granted < gather {
		t := o.turns[0]
		o.turns[0] = nil
		o.turns = o.turns[1:]
		t.in = true
		o.granted += t.size
		close(t.let)
	}
}

func (o *outbox) leave(t *turn) {
	for i := range o.turns {
		if o.turns[i] == t {
			o.turns = append(o.turns[:i], o.turns[i+1:]...)
			return
		}
	}
}

// queue appends a frame. l.mu is held; the caller signals the writer.
func (l *link) queue(k kind, call uint32, payload []byte) {
	l.out.buf = appendFrame(l.out.buf, k, call, payload)
	l.out.queued += uint64(headerSize + len(payload))
}

// control queues a frame that may not wait: the reader sends it. A peer that
// makes us send many and does not read them is cut off.
func (l *link) control(k kind, call uint32, payload []byte) error {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return l.err
	}
	if len(l.out.buf) > flood {
		l.mu.Unlock()
		return violated("does not read what it is sent")
	}
	l.queue(k, call, payload)
	l.mu.Unlock()
	l.signal()
	return nil
}

// send queues a frame of s when there is room for it.
func (l *link) send(s *stream, k kind, payload []byte) error {
	l.mu.Lock()
	err := l.admit(headerSize+len(payload), s.done)
	if err == nil {
		l.queue(k, s.id, payload)
	}
	l.mu.Unlock()
	if err == nil {
		l.signal()
	}
	return err
}

// sendLast is send for the frame that ends s on this side. The call is
// forgotten before the peer can know, so that it may begin another at once.
func (l *link) sendLast(s *stream, k kind, payload []byte) error {
	l.mu.Lock()
	err := l.admit(headerSize+len(payload), s.done)
	if err == nil {
		l.queue(k, s.id, payload)
		l.forgetLocked(s)
	}
	l.mu.Unlock()
	if err == nil {
		l.signal()
	}
	return err
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// cancel forgets s and tells the peer so, in one step: a link that parts does
// so behind it. It does nothing to a call that is over. It does not wait, so a
// peer that has many calls refused and does not read it is cut off.
func (l *link) cancel(s *stream, k kind, payload []byte) {
	l.mu.Lock()
	open := l.forgetLocked(s) && l.err == nil
	flooded := open && len(l.out.buf) > flood
	if open && !flooded {
		l.queue(k, s.id, payload)
	}
	l.mu.Unlock()
	if flooded {
		l.end(violated("does not read what it is sent"), nil)
		return
	}
	l.signal()
}

// lazyTime is how long a frame may wait for others to travel with.
const lazyTime = 10 * time.Millisecond

// lazily queues a frame that nobody waits for: it goes with the next one, or
// soon.
func (l *link) lazily(k kind, call uint32, payload []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || len(l.out.buf) > flood {
		return
	}
	l.queue(k, call, payload)
	if l.lazy == nil {
		l.lazy = time.AfterFunc(lazyTime, l.signal)
		return
	}
	l.lazy.Reset(lazyTime)
}

// write writes what is queued until the link has ended, and closes the
// connection.
func (l *link) write() {
	defer func() { _ = l.conn.Close() }() // nothing of use can be said
	for {
		ended := false
		select {
		case <-l.wake:
			// Let those who are about to queue something do so: a call's head
			// and its body, and calls that run at the same time, share a write.
			runtime.Gosched()
		case <-l.done:
			ended = true
		}
		if err := l.flush(); err != nil {
			l.hearOut()
			l.end(err, nil)
			return
		}
		if ended {
			return
		}
		if l.hasParted() {
			if c, ok := l.conn.(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite() // what fails to be said is not missed
			}
			l.hearOut()
			l.end(errParted, nil)
			return
		}
	}
}

// hearOut waits for a moment until the peer has closed, or the link has ended,
// when nothing can or will be written any more. What the peer has sent may
// prove that it has not taken a call; and a connection that is closed before
// all was read is reset, which would take our last words from the peer.
func (l *link) hearOut() {
	l.mu.Lock()
	l.leaving = true
	l.mu.Unlock()
	_ = l.conn.SetReadDeadline(time.Now().Add(partingTime)) // a closed one has none
	<-l.done                                                // the reader has ended
}

func (l *link) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.out.buf) > 0 {
		b := l.out.buf
		l.out.buf = l.out.spare[:0]
		l.out.spare = nil
		l.out.taken += uint64(len(b))
		l.out.letIn()
		l.mu.Unlock()
		_, err := l.conn.Write(b)
		l.mu.Lock()
		if cap(b) <= 2*gather {
			l.out.spare = b
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *link) hasParted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parting && len(l.streams) == 0 && len(l.out.buf) == 0
}

// trim lets go of the buffers of a link that is idle.
func (l *link) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.out.buf) == 0 {
		l.out.buf = nil
	}
	l.out.spare = nil
}
