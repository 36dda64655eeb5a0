package mesh

import "runtime"

// A link is written by whoever has something to write while nobody else does:
// a call that is alone needs no other goroutine. It lets others that are about
// to queue something do so first, and then writes all there is; what the kernel
// does not take at once, and what is large, is for the link's own goroutine,
// so that no call is held up in a write.
type writer uint8

const (
	nobody writer = iota
	aCall
	theLink
)

const (
	// ownShare is how much a call writes for others and itself at most.
	ownShare = 64 << 10
	// ownRounds is how often it looks for more.
	ownRounds = 2
	// ownPiece is the largest piece of a stream that a call writes itself. A
	// larger one is likely to be followed by another.
	ownPiece = 4 << 10
)

// unlockAndWrite lets l.mu go and sees to it that what is queued is written.
func (l *link) unlockAndWrite() {
	if l.writer != nobody || l.err != nil {
		l.mu.Unlock()
		return
	}
	if len(l.out.buf) > ownShare {
		l.handOver()
		l.mu.Unlock()
		return
	}
	l.writer = aCall
	l.mu.Unlock()
	runtime.Gosched()
	l.writeAtOnce()
}

// unlockAndRouse is unlockAndWrite for what is likely to be followed by more:
// the link's goroutine takes what has come until it runs.
func (l *link) unlockAndRouse() {
	if l.writer == nobody && l.err == nil {
		l.handOver()
	}
	l.mu.Unlock()
}

// push sees to it that what is queued is written, unless it has time until there
// is more.
func (l *link) push() {
	l.mu.Lock()
	if len(l.out.buf) == 0 || l.out.queued == l.out.patient {
		l.mu.Unlock()
		return
	}
	l.unlockAndWrite()
}

// handOver makes the link's goroutine the one that writes. l.mu is held.
func (l *link) handOver() {
	l.writer = theLink
	l.signal()
}

// signal wakes the link's goroutine.
func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// writeAtOnce writes what is queued as far as the kernel takes it now. The
// caller has become the one that writes, and is not any more when it returns.
func (l *link) writeAtOnce() {
	var b []byte
	var err error
	for rounds := ownRounds; ; rounds-- {
		if b = l.written(b, err, rounds == 0); b == nil {
			return
		}
		if _, err = l.conn.Write(b); err == nil {
			err = l.sock.tryFlush()
		}
	}
}

// written takes back b, which a call has written, and returns what the call is
// to write next: nothing, if that is for the link to do or all is done.
func (l *link) written(b []byte, err error, enough bool) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b != nil {
		l.out.keep(b)
	}
	if l.broken == nil {
		l.broken = err
	}
	left := len(l.out.buf)
	switch {
	case l.broken != nil || l.err != nil || !l.sock.isClear() || left > ownShare || left > 0 && enough:
		l.handOver()
		return nil
	case left > 0:
		return l.out.take()
	}
	l.writer = nobody
	if l.parting {
		l.signal()
	}
	return nil
}

// write is the link's own goroutine: it writes what calls leave to it until the
// link has ended, and closes the connection.
func (l *link) write() {
	defer func() { _ = l.conn.Close() }() // nothing of use can be said
	for range l.wake {
		l.mu.Lock()
		if l.writer == aCall { // who signals when it is done, if there is need
			l.mu.Unlock()
			continue
		}
		l.writer = theLink
		over := l.writeAll()
		l.mu.Unlock()
		if over {
			return
		}
	}
}

// writeAll writes until nothing is left. It reports whether nothing will ever
// be written again. l.mu is held before and after.
func (l *link) writeAll() (over bool) {
	for {
		switch {
		case l.broken != nil:
			l.ending(l.broken)
			return true
		case len(l.out.buf) > 0 || !l.sock.isClear():
			l.writeNext()
		case l.err != nil:
			return true
		case l.parting && len(l.streams) == 0:
			l.mu.Unlock()
			if c, ok := l.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
				_ = l.sock.flush() // what fails to be said is not missed
			}
			l.mu.Lock()
			l.ending(errParted)
			return true
		default:
			l.writer = nobody
			return false
		}
	}
}

// writeNext writes what is queued, however long that takes. l.mu is held before
// and after.
func (l *link) writeNext() {
	b := l.out.take()
	l.mu.Unlock()
	err := l.sock.flush()
	for rest := b; len(rest) > 0 && err == nil; {
		n := min(len(rest), ownShare)
		if _, err = l.conn.Write(rest[:n]); err == nil {
			err = l.sock.flush()
		}
		rest = rest[n:]
	}
	l.mu.Lock()
	l.out.keep(b)
	if err != nil {
		l.broken = err
	}
}

// ending ends the link because nothing can or will be written any more. It
// waits for a moment until the peer has closed, or the link has ended: what the
// peer has sent may prove that it has not taken a call; and a connection that
// is closed before all was read is reset, which would take our last words from
// the peer. l.mu is held before and after.
func (l *link) ending(why error) {
	l.leaving = true
	l.mu.Unlock()
	l.sock.expectEnd()
	<-l.done // the reader has ended
	l.end(why, nil)
	l.mu.Lock()
}
