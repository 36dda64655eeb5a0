package mesh

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A role is what a client and a server do differently with a link.
type role interface {
	// frame handles a frame that is only one side's. The payload is good until
	// it returns.
	frame(h header, payload []byte) error
	// lost ends a call because the link has ended. notWritten is true if no
	// byte of the call was given to the connection.
	lost(s *stream, err error, notWritten bool)
	// retire sees to it that the link gets no new calls and ends when those on
	// it have. It is called more than once.
	retire()
	// idle is called when the link has had no calls for d.
	idle(d time.Duration)
}

// A link is one connection to a peer and the calls on it. One goroutine reads,
// one writes, one watches; none of them ever waits for a call.
type link struct {
	conn net.Conn
	role role
	wake chan struct{} // capacity 1: the writer has something to do
	kick chan struct{} // capacity 1: the watcher has something to watch
	done chan struct{} // closed when the link has ended

	awake    atomic.Bool   // the watcher looks each tick
	received atomic.Uint64 // frames read
	held     atomic.Int64  // bytes received and not given back
	back     atomic.Int64  // of them, those to be given back with the next portion

	// until is when the link takes no new calls, expires when it is cut; zero
	// is never.
	until, expires time.Time

	mu      sync.Mutex // guards what follows
	err     error      // why the link has ended
	out     outbox
	streams map[uint32]*stream
	sent    int       // bytes sent and not given back
	surely  int       // of them, the sure parts of open calls
	blocked []*stream // calls that wait for bytes to be given back
	last    uint32    // the highest call so far
	leaving bool      // no new calls
	parting bool      // the writer closes the connection when all is written
	lazy    *time.Timer
}

func newLink(conn net.Conn, r role) *link {
	return &link{
		conn: conn, role: r,
		wake: make(chan struct{}, 1), kick: make(chan struct{}, 1), done: make(chan struct{}),
		streams: map[uint32]*stream{},
	}
}

// run serves the link until it has ended and everything it started has
// returned.
func (l *link) run(fr *frameReader) {
	var wg sync.WaitGroup
	wg.Go(l.write)
	wg.Go(l.watch)
	l.end(l.read(fr), nil)
	wg.Wait()
	l.mu.Lock()
	if l.lazy != nil {
		l.lazy.Stop()
	}
	l.mu.Unlock()
}

// read handles what comes, until the connection ends or the peer breaks the
// protocol.
func (l *link) read(fr *frameReader) error {
	for {
		h, payload, err := fr.next()
		if err == nil {
			l.received.Add(1)
			err = l.frame(h, payload)
		}
		if v, ok := errors.AsType[*violation](err); ok {
			l.end(v, appendFrame(nil, kindAbort, 0, []byte(clip(v.what))))
			return v
		}
		if err != nil {
			return err
		}
	}
}

func (l *link) frame(h header, payload []byte) error {
	switch h.kind {
	case kindPing:
		return l.control(kindPong, 0, payload)
	case kindPong:
		return nil
	case kindAbort:
		return &aborted{printable(string(payload))}
	case kindWindow:
		d := decoder{rest: string(payload)}
		n := d.small(linkWindow)
		if d.err != nil {
			return violated("window: %v", d.err)
		}
		return l.returned(h.call, n)
	case kindData:
		return l.data(h, payload)
	case kindTrailers:
		fields, err := parseFields(payload)
		if err != nil {
			return violated("trailers: %v", err)
		}
		s := l.stream(h.call)
		if s == nil {
			return nil
		}
		return s.trailed(fields)
	case kindReset:
		if s := l.stream(h.call); s != nil {
			s.reset(payload)
		}
		return nil
	default:
		return l.role.frame(h, payload)
	}
}

func (l *link) data(h header, payload []byte) error {
	n := len(payload)
	if l.held.Add(int64(n)) > linkWindow {
		return violated("more data than the link's window")
	}
	s := l.stream(h.call)
	if s == nil {
		if h.call == 0 || h.call > l.highest() {
			return violated("data of call %d, which has not begun", h.call)
		}
		// The call is over on this side; the peer has not heard yet.
		return l.giveBack(n)
	}
	unread, err := s.in.put(payload)
	if err != nil {
		return err
	}
	if unread > 0 {
		if err := l.giveBack(unread); err != nil {
			return err
		}
	}
	if h.end {
		return s.ended(nil)
	}
	return nil
}

func (l *link) stream(call uint32) *stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streams[call]
}

func (l *link) highest() uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *link) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.streams)
}

// end ends the link because of err: what was not written yet is dropped, so
// that "not written" stays true; last, if any, is written; all calls fail.
// Only the first end counts.
func (l *link) end(err error, last []byte) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.err = err
	l.out.buf = last
	lost := make([]*stream, 0, len(l.streams))
	for _, s := range l.streams {
		lost = append(lost, s)
	}
	clear(l.streams)
	taken := l.out.taken
	close(l.done)
	l.mu.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(partingTime)) // a closed one has none
	for _, s := range lost {
		l.role.lost(s, err, s.start >= taken)
	}
}

// part ends the link when what is queued has been written.
func (l *link) part() {
	l.mu.Lock()
	l.leaving, l.parting = true, true
	l.mu.Unlock()
	l.signal()
}

// begin registers a call. l.mu is held.
func (l *link) begin(s *stream, id uint32) {
	s.id = id
	l.last = id
	l.streams[id] = s
	if !l.awake.Load() {
		select {
		case l.kick <- struct{}{}:
		default:
		}
	}
}

// forget ends a call on this side.
func (l *link) forget(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetLocked(s)
}

// forgetLocked reports whether the call was still known. l.mu is held.
func (l *link) forgetLocked(s *stream) bool {
	if l.streams[s.id] != s {
		return false
	}
	delete(l.streams, s.id)
	l.surely -= min(s.sent, sure)
	if l.leaving && len(l.streams) == 0 {
		l.signal() // a client's writer parts
	}
	return true
}

// cause is why the link has ended, for calls that come too late.
func (l *link) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// giveBack notes that n bytes of calls that are over are free again.
func (l *link) giveBack(n int) error {
	if n == 0 || l.back.Add(int64(n)) < 2*largePortion {
		return nil
	}
	return l.window(0, int(l.back.Swap(0)))
}

// window tells the peer that n bytes have been consumed.
func (l *link) window(call uint32, n int) error {
	if n == 0 {
		return nil
	}
	l.held.Add(int64(-n))
	return l.control(kindWindow, call, binary.AppendUvarint(nil, uint64(n))) //nolint:gosec // not negative
}

// isUsable reports whether the link takes a new call.
func (l *link) isUsable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil && !l.leaving && (l.until.IsZero() || time.Now().Before(l.until))
}
