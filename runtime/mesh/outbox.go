package mesh

import "errors"

// An outbox is what waits to be written on a link. Calls append frames to it,
// and whoever writes takes all there is at once, so under load many calls share
// a TLS record and a system call. The link's mutex guards it.
type outbox struct {
	buf     []byte  // what is taken next; begins at a frame
	spare   []byte  // the buffer written last
	granted int     // room promised to turns that were let in
	turns   []*turn // calls that wait for room, first come first
	queued  uint64  // bytes appended since the link began
	taken   uint64  // bytes taken since the link began
	patient uint64  // bytes of the beginning that go with what comes next
}

// A turn is a call's place in the line for room.
type turn struct {
	size int
	let  chan struct{}
	in   bool
}

var errStopped = errors.New("stopped")

// A stopper ends a call's waiting. It is asked only when there is to be some.
type stopper interface{ Done() <-chan struct{} }

// admit waits for room for size bytes. l.mu is held before and after; it is
// let go while waiting, so what was known before has to be looked at again.
// Whoever was admitted queues something or calls letIn: the next in line waits
// for that.
func (l *link) admit(size int, stop stopper) error {
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
	case <-stop.Done():
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

// take returns what is to be written now.
func (o *outbox) take() []byte {
	b := o.buf
	o.buf, o.spare = o.spare[:0], nil
	o.taken += uint64(len(b))
	o.letIn()
	return b
}

// keep takes back what take returned, once that is written.
func (o *outbox) keep(b []byte) {
	if cap(b) <= 2*gather {
		o.spare = b
	}
}

// queue appends a frame. l.mu is held.
func (l *link) queue(k kind, call uint32, payload []byte) {
	l.out.buf = appendFrame(l.out.buf, k, call, payload)
	l.out.queued += uint64(headerSize + len(payload))
}

// open begins a frame whose payload the caller appends to the outbox. It
// returns where. l.mu is held until close.
func (o *outbox) open(k kind, call uint32) int {
	o.buf = appendHeader(o.buf, k, call, 0)
	return len(o.buf) - headerSize
}

// close ends the frame that open began at begin.
func (o *outbox) close(begin int) {
	size := len(o.buf) - begin
	putSize(o.buf[begin:], size-headerSize)
	o.queued += uint64(size) //nolint:gosec // not negative
}

// control queues a frame that may not wait: the reader sends it. A peer that
// makes us send many and does not read them is cut off. Who is not the reader
// calls push behind it.
func (l *link) control(k kind, call uint32, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if len(l.out.buf) > flood {
		return violated("does not read what it is sent")
	}
	l.queue(k, call, payload)
	return nil
}

// send queues a frame of s when there is room for it.
func (l *link) send(s *stream, k kind, payload []byte) error {
	return l.put(s, k, payload, false)
}

// sendLast is send for the frame that ends s on this side. The call is
// forgotten before the peer can know, so that it may begin another at once.
func (l *link) sendLast(s *stream, k kind, payload []byte) error {
	return l.put(s, k, payload, true)
}

func (l *link) put(s *stream, k kind, payload []byte, last bool) error {
	l.mu.Lock()
	if err := l.admit(headerSize+len(payload), s); err != nil {
		l.mu.Unlock()
		return err
	}
	l.queue(k, s.id, payload)
	if last {
		l.forgetLocked(s)
	}
	l.unlockAndWrite()
	return nil
}

// cancel forgets s and tells the peer so, in one step: a link that parts does
// so behind it. It does nothing to a call that is over. It does not wait, so a
// peer that has many calls refused and does not read it is cut off.
func (l *link) cancel(s *stream, k kind, payload []byte) {
	l.mu.Lock()
	open := l.forgetLocked(s) && l.err == nil
	if !open {
		l.mu.Unlock()
		return
	}
	if len(l.out.buf) > flood {
		l.mu.Unlock()
		l.end(violated("does not read what it is sent"), nil)
		return
	}
	l.queue(k, s.id, payload)
	l.unlockAndWrite()
}
