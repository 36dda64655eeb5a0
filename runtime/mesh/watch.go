package mesh

import "time"

// asleep is how often a link without calls is looked at.
const asleep = 30 * time.Second

// drowsyTicks is how many ticks a link stays watched closely after its last
// call, so that calls in sequence do not wake the watcher each time.
const drowsyTicks = 20

// watch finds a peer that is frozen, retires a link before its certificates
// expire, and cuts it when they have.
func (l *link) watch() {
	w := watcher{l: l}
	timer := time.NewTimer(w.next())
	defer timer.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-l.kick:
			l.awake.Store(true)
			w.drowsy = 0
		case <-timer.C:
		}
		if !w.look() {
			return
		}
		timer.Reset(w.next())
	}
}

// A watcher is what watch remembers from look to look.
type watcher struct {
	l         *link
	seen      uint64 // frames received at the last look
	silent    int    // looks with open calls without a frame
	drowsy    int    // looks without open calls
	idleSince time.Time
}

// look reports whether there is anything left to watch.
func (w *watcher) look() bool {
	l := w.l
	if !l.expires.IsZero() && time.Now().After(l.expires) {
		l.end(errExpired, nil)
		return false
	}
	if !l.until.IsZero() && time.Now().After(l.until) {
		l.role.retire()
	}
	if l.open() == 0 {
		w.silent = 0
		w.drowsy++
		if w.idleSince.IsZero() {
			w.idleSince = time.Now()
		}
		l.role.idle(time.Since(w.idleSince))
		return true
	}
	w.idleSince, w.drowsy = time.Time{}, 0
	if got := l.received.Load(); got != w.seen {
		w.seen, w.silent = got, 0
		return true
	}
	w.silent++
	switch {
	case w.silent >= deadTicks:
		l.end(errFrozen, nil)
		return false
	case w.silent == quietTicks:
		_ = l.control(kindPing, 0, nil) // the link has ended, or it floods: found below
		l.push()
	}
	return true
}

// next is the time to the next look.
func (w *watcher) next() time.Duration {
	l := w.l
	if w.drowsy < drowsyTicks && l.awake.Load() {
		return tick
	}
	l.awake.Store(false)
	if l.open() > 0 { // begun while we fell asleep, and not kicked us
		l.awake.Store(true)
		return tick
	}
	l.trim()
	next := asleep
	for _, t := range [...]time.Time{l.until, l.expires} {
		if left := time.Until(t); !t.IsZero() && left > 0 {
			next = min(next, left+time.Millisecond)
		}
	}
	return next
}

// trim lets go of the buffers of a link that is idle.
func (l *link) trim() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.out.buf) == 0 {
		l.out.buf = nil
	}
	l.out.spare = nil
	if l.writer == nobody {
		l.sock.trim()
	}
}
