package mesh

// share is the part of what a link has left that one call may hold: with it a
// call alone gets its whole window, a thousand stalled calls leave room for
// others, and nobody waits for a reader of another call.
const share = 8

// minPiece keeps a call that is short of room from sending crumbs.
const minPiece = 1 << 10

// allowance is how much of s may be sent now. l.mu is held.
func (l *link) allowance(s *stream) int {
	return min(s.window-s.sent, (linkWindow-l.sent)/share-s.sent)
}

// sendData queues b as data of s, waiting for the receiver and the writer as
// it must. With end it ends the direction.
func (l *link) sendData(s *stream, b []byte, k kind) error {
	for len(b) > 0 {
		n, err := l.sendPiece(s, b, k)
		if err != nil {
			return err
		}
		b = b[n:]
		l.signal()
	}
	return nil
}

// sendPiece queues the beginning of b. The kind's end flag goes with the last
// piece.
func (l *link) sendPiece(s *stream, b []byte, k kind) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		n := min(len(b), maxData)
		if err := l.credit(s, min(n, minPiece)); err != nil {
			return 0, err
		}
		if err := l.admit(headerSize+n, s.done); err != nil {
			return 0, err
		}
		// Others may have taken what was left while this one waited.
		allowed := l.allowance(s)
		if allowed < min(n, minPiece) {
			continue
		}
		n = min(n, allowed)
		if n < len(b) {
			k &^= flagEnd
		}
		s.sent += n
		l.sent += n
		l.queue(k, s.id, b[:n])
		return n, nil
	}
}

// credit waits until s may send at least n bytes. l.mu is held as by admit.
func (l *link) credit(s *stream, n int) error {
	for {
		if l.err != nil {
			return l.err
		}
		if l.allowance(s) >= n {
			return nil
		}
		if s.room == nil {
			s.room = make(chan struct{}, 1)
		}
		s.need = n
		if !s.blocked {
			s.blocked = true
			l.blocked = append(l.blocked, s)
		}
		l.mu.Unlock()
		stopped := false
		select {
		case <-s.room:
		case <-s.done:
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
	l.sent -= n
	s := l.streams[call]
	if s != nil {
		s.sent -= n
	}
	if l.sent < 0 || s != nil && s.sent < 0 {
		return violated("more given back than was sent")
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
