package mesh

import (
	"encoding/binary"
	"errors"
	"net"
	"runtime"
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
	conn net.Conn // TLS, on sock
	sock *socket
	role role
	wake chan struct{} // capacity 1: the link's writer has something to do
	kick chan struct{} // capacity 1: the watcher has something to watch
	done chan struct{} // closed when the link has ended

	awake    atomic.Bool   // the watcher looks each tick
	received atomic.Uint64 // reads that brought something
	held     atomic.Int64  // bytes received and not given back
	back     atomic.Int64  // of them, those to be given back with the next portion

	// until is when the link takes no new calls, expires when it is cut; zero
	// is never.
	until, expires time.Time

	// What follows is the reader's.
	due  *stream // has news to be told of
	told int     // news since the reader let others run

	mu      sync.Mutex // guards what follows
	err     error      // why the link has ended
	broken  error      // why nothing can be written
	writer  writer     // who writes
	out     outbox
	streams map[uint32]*stream
	sent    int       // bytes sent and not given back
	surely  int       // of them, the sure parts of open calls
	blocked []*stream // calls that wait for bytes to be given back
	last    uint32    // the highest call so far
	leaving bool      // no new calls
	parting bool      // the writer closes the connection when all is written
}

// newLink makes a link of a connection whose handshake has been made on sock.
func newLink(conn net.Conn, sock *socket, r role) *link {
	sock.joined = true
	return &link{
		conn: conn, sock: sock, role: r,
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
	err := l.read(fr)
	l.tell(nil)
	l.end(err, nil)
	wg.Wait()
}

// read handles what comes, until the connection ends or the peer breaks the
// protocol.
func (l *link) read(fr *frameReader) error {
	for {
		h, payload, ok, err := fr.next()
		if ok {
			err = l.frame(h, payload)
		}
		if v, broke := errors.AsType[*violation](err); broke {
			l.end(v, appendFrame(nil, kindAbort, 0, []byte(clip(v.what))))
			return v
		}
		if err == nil && !ok {
			err = l.receive(fr)
		}
		if err != nil {
			return err
		}
	}
}

// receive waits for bytes of the next frame.
func (l *link) receive(fr *frameReader) error {
	if fr.full || !l.sock.isDry() {
		if err := fr.more(); err != (dry{}) { //nolint:errorlint // never wrapped
			return err
		}
	}
	l.settle()
	fr.rest()
	if err := l.sock.fill(); err != nil {
		return err
	}
	l.received.Add(1)
	return nil
}

// settle does what was put off until all that has come was handled: a call
// that has its head and its body by now is told once, and what the reader has
// to say goes out with what it brings about.
func (l *link) settle() {
	l.tell(nil)
	l.push()
}

// tell notes that there is news for s, of which its reader will be told with
// what comes next for it. The reader calls it.
func (l *link) tell(s *stream) {
	if l.due == s {
		return
	}
	if l.due != nil {
		l.due.end.wake()
		if l.told++; l.told == breath {
			l.told = 0
			runtime.Gosched()
		}
	}
	l.due = s
}

// breath is how many calls the reader tells before it lets them run: what they
// have in memory should be near still when they do.
const breath = 32

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
	held := l.held.Add(int64(n))
	if held > linkWindow {
		return violated("more data than the link's window")
	}
	if held > crowd && held-int64(n) <= crowd {
		l.collect()
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
	if err := l.giveBack(unread); err != nil {
		return err
	}
	l.tell(s)
	if h.end {
		return s.ended(nil)
	}
	if n > smallPiece {
		l.tell(nil) // a long body is read while it comes
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
	l.sock.hurry()
	l.signal()
	l.mu.Unlock()
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

// giveBack notes that n bytes of calls that are over are free again. It is the
// reader's.
func (l *link) giveBack(n int) error {
	if !l.isPortion(n) {
		return nil
	}
	return l.window(0, int(l.back.Swap(0)))
}

// release is giveBack for everybody else.
func (l *link) release(n int) {
	if l.isPortion(n) {
		_ = l.window(0, int(l.back.Swap(0))) // the link has ended: nobody wants them
		l.push()
	}
}

// isPortion adds n to what is to be given back and reports whether that is
// worth a frame.
func (l *link) isPortion(n int) bool { return n > 0 && l.back.Add(int64(n)) >= 2*largePortion }

// collect gives back what calls have consumed and kept for a larger portion.
// It is called when the link becomes crowded.
func (l *link) collect() {
	l.mu.Lock()
	streams := make([]*stream, 0, len(l.streams))
	for _, s := range l.streams {
		streams = append(streams, s)
	}
	l.mu.Unlock()
	for _, s := range streams {
		_ = l.window(s.id, s.in.portion()) // the link has ended: nobody wants it
	}
}

// isCrowded reports whether calls have to give back early, because what is left
// of the link's window may not be enough for a share.
func (l *link) isCrowded() bool { return l.held.Load() > crowd }

// window tells the peer that n bytes have been consumed. It is for push to see
// that it is written.
func (l *link) window(call uint32, n int) error {
	if n == 0 {
		return nil
	}
	l.held.Add(int64(-n))
	var b [binary.MaxVarintLen64]byte
	return l.control(kindWindow, call, binary.AppendUvarint(b[:0], uint64(n))) //nolint:gosec // not negative
}

// isUsable reports whether the link takes a new call.
func (l *link) isUsable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil && !l.leaving && (l.until.IsZero() || time.Now().Before(l.until))
}
