package mesh

import "github.com/pillion-dev/pillion/runtime/invoke"

// What has been sent and not consumed is bounded for the link, and a call whose
// reader stalls must not take the others' part. So each call may always have
// sure bytes on the way, and what is left of the link's window is a pool of
// which a call may hold a share of what the others have left: alone it gets
// nearly its whole window, and a thousand stalled calls leave the thousand and
// first its sure part.
const (
	sure  = 2 << 10
	pool  = linkWindow - maxCalls*sure - 2*largePortion // the last is what giveBack keeps
	share = 8
)

// minPiece keeps a call that is short of room from sending crumbs.
const minPiece = 1 << 10

// allowance is how much of s may be sent now. l.mu is held.
func (l *link) allowance(s *stream) int {
	left := (pool-(l.sent-l.surely))/share - max(s.sent-sure, 0)
	return min(s.window-s.sent, linkWindow-l.sent, max(sure-s.sent, 0)+max(left, 0))
}

// charge notes that n bytes more of s are on the way; less, if negative. l.mu
// is held.
func (l *link) charge(s *stream, n int) {
	l.surely += min(s.sent+n, sure) - min(s.sent, sure)
	s.sent += n
	l.sent += n
}

// queueWhole queues all of a body and its end, if that is small and may be sent
// now. l.mu is held.
func (l *link) queueWhole(s *stream, body []byte, trailers invoke.Fields) bool {
	if len(body) > maxData || len(body) > l.allowance(s) || fieldsSize(trailers) > maxHead {
		return false
	}
	l.charge(s, len(body))
	if len(trailers) == 0 {
		l.queue(kindData|flagEnd, s.id, body)
		return true
	}
	if len(body) > 0 {
		l.queue(kindData, s.id, body)
	}
	frame := l.out.open(kindTrailers, s.id)
	l.out.buf = appendFields(l.out.buf, trailers)
	l.out.close(frame)
	return true
}

// sendData queues b as data of s, waiting for the receiver and the writer as
// it must.
func (l *link) sendData(s *stream, b []byte) error {
	for len(b) > 0 {
		n, err := l.sendPiece(s, b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// sendPiece queues the beginning of b.
func (l *link) sendPiece(s *stream, b []byte) (int, error) {
	l.mu.Lock()
	n, err := l.room(s, len(b))
	if err != nil {
		l.mu.Unlock()
		return 0, err
	}
	l.charge(s, n)
	l.queue(kindData, s.id, b[:n])
	if n > ownPiece {
		l.unlockAndRouse()
	} else {
		l.unlockAndWrite()
	}
	return n, nil
}

// room waits until some of size bytes can be sent, and returns how many. l.mu
// is held as by admit.
func (l *link) room(s *stream, size int) (int, error) {
	for {
		n := min(size, maxData)
		if err := l.credit(s, min(n, minPiece)); err != nil {
			return 0, err
		}
		if err := l.admit(headerSize+n, s); err != nil {
			return 0, err
		}
		// The call may have ended while it waited, and others may have taken
		// what was left.
		if l.streams[s.id] != s {
			l.out.letIn()
			return 0, errStopped
		}
		if allowed := l.allowance(s); allowed >= min(n, minPiece) {
			return min(n, allowed), nil
		}
		l.out.letIn()
	}
}

// credit waits until s may send at least n bytes. l.mu is held as by admit.
func (l *link) credit(s *stream, n int) error {
	for {
		switch {
		case l.err != nil:
			return l.err
		case s.isStopped() || l.streams[s.id] != s:
			return errStopped
		case l.allowance(s) >= n:
			return nil
		}
		if s.room == nil {
			s.room = make(chan struct{}, 1)
		}
		done := s.Done()
		s.need = n
		if !s.blocked {
			s.blocked = true
			l.blocked = append(l.blocked, s)
		}
		l.mu.Unlock()
		stopped := false
		select {
		case <-s.room:
		case <-done:
			stopped = true
		case <-l.done:
		}
		l.mu.Lock()
		if stopped {
			l.unblock(s)
			return errStopped
		}
	}
}

func (l *link) unblock(s *stream) {
	s.blocked = false
	for i := range l.blocked {
		if l.blocked[i] == s {
			l.blocked = append(l.blocked[:i], l.blocked[i+1:]...)
			return
		}
	}
}

// returned notes that the peer has consumed n bytes of a call.
func (l *link) returned(call uint32, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[call]
	switch {
	case n > l.sent || s != nil && n > s.sent:
		return violated("more given back than was sent")
	case s != nil:
		l.charge(s, -n)
	default:
		l.sent -= n
	}
	l.letOn()
	return nil
}

// letOn wakes the blocked calls that may go on. l.mu is held.
func (l *link) letOn() {
	kept := l.blocked[:0]
	for _, s := range l.blocked {
		if l.allowance(s) < s.need {
			kept = append(kept, s)
			continue
		}
		s.blocked = false
		select {
		case s.room <- struct{}{}:
		default:
		}
	}
	clear(l.blocked[len(kept):])
	l.blocked = kept
}
