package supervisor

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// drainQuiet is how long a stream may stay silent once no process of the app
// is left before it is given up: somebody outside the tree holds it open.
const drainQuiet = time.Second

// chunk is how much is read at once; a pipe holds as much.
const chunk = 64 << 10

// A stream is one output of the app on its way: from src to dst, with a copy
// to log.
type stream struct {
	src *os.File
	dst io.Writer // nil once it could not be written
	log io.Writer // nil if no copy is kept
	// lens turns what was read into what dst gets; nil leaves it.
	lens lens

	draining atomic.Bool
	done     chan struct{}
}

// A lens turns what was read into what is to be written. It may hold back the
// end of a chunk until it has seen the beginning of the next, for a moment.
type lens interface {
	show(b []byte) []byte
	// held returns what is held back, and no longer holds it.
	held() []byte
	holds() bool
}

// holdBound is how long a lens may wait for the next chunk: what it waits for
// has been written together with what it holds, and comes as soon as the system,
// which may be busy with others, has passed it on. Meanwhile a cursor stands at
// the end of its line instead of its beginning, no more.
const holdBound = time.Second

func newStream(src *os.File, dst, log io.Writer) *stream {
	return &stream{src: src, dst: dst, log: log, done: make(chan struct{})}
}

// copy moves bytes until the end of src, or of its silence while draining. It
// closes src.
func (s *stream) copy() {
	defer close(s.done)
	defer func() { _ = s.src.Close() }() // only read
	if held, ok := s.log.(*lineLog); ok {
		defer held.flush()
	}
	b := make([]byte, chunk)
	for limited := false; ; {
		holds := s.lens != nil && s.lens.holds()
		limited = s.limit(holds, limited)
		n, err := s.read(b)
		if n > 0 && !s.pass(b[:n]) {
			return
		}
		if err == nil {
			continue
		}
		if holds && n == 0 && !s.write(s.lens.held()) || !holds || !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// read is a read of src whose limit is for waiting only: one that comes late on
// a busy machine takes what is there.
func (s *stream) read(b []byte) (int, error) {
	n, err := s.src.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return look(s.src, b)
	}
	return n, err
}

// limit sets how long the next read may take, each time anew: a slow dst must
// not use up the time of src. It reports whether there is a limit.
func (s *stream) limit(holds, limited bool) bool {
	if holds {
		_ = s.src.SetReadDeadline(time.Now().Add(holdBound)) // without one the read waits for more
		return true
	}
	if limited {
		_ = s.src.SetReadDeadline(time.Time{}) // before the look below: drain sets it after its own
	}
	if s.draining.Load() {
		_ = s.src.SetReadDeadline(time.Now().Add(drainQuiet)) // without one the read waits for the end
		return true
	}
	return false
}

// pass writes b to both sinks. It returns false if dst's reader is gone: src
// is closed then, so that the app gets the broken pipe it would have had.
func (s *stream) pass(b []byte) bool {
	if s.log != nil {
		_, _ = s.log.Write(b) // promised not to fail
	}
	if s.lens != nil {
		b = s.lens.show(b)
	}
	return s.write(b)
}

// write writes b to dst and reports whether it is still read.
func (s *stream) write(b []byte) bool {
	if s.dst == nil || len(b) == 0 {
		return true
	}
	_, err := s.dst.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		return false
	}
	if err != nil {
		s.dst = nil // a full disk, a terminal hung up: the log goes on
	}
	return true
}

// drain bounds the wait for the end of src. To be called once nobody of the
// tree can write any more.
func (s *stream) drain() {
	s.draining.Store(true)
	_ = s.src.SetReadDeadline(time.Now().Add(drainQuiet)) // closed already: done
}

// A guarded writer is written to by one at a time. Who must not wait for the
// others leaves what is to be written.
type guarded struct {
	mu sync.Mutex // held by who writes
	w  io.Writer

	leftMu sync.Mutex // guards what follows
	left   []byte
}

// maxLeft is how much may be left behind a write that does not end.
const maxLeft = 256

func (g *guarded) Write(b []byte) (int, error) {
	g.mu.Lock()
	n, err := g.w.Write(b)
	g.mu.Unlock()
	g.writeLeft()
	return n, err
}

// leave writes b at once or, if somebody is writing, has it written behind that.
func (g *guarded) leave(b []byte) {
	g.leftMu.Lock()
	if len(g.left)+len(b) <= maxLeft {
		g.left = append(g.left, b...)
	}
	g.leftMu.Unlock()
	g.writeLeft()
}

// writeLeft writes what was left, unless somebody is writing: who is looks for
// himself once he has written.
func (g *guarded) writeLeft() {
	for g.hasLeft() && g.mu.TryLock() {
		g.leftMu.Lock()
		b := g.left
		g.left = nil
		g.leftMu.Unlock()
		_, _ = g.w.Write(b) // an echo: nobody misses it
		g.mu.Unlock()
	}
}

func (g *guarded) hasLeft() bool {
	g.leftMu.Lock()
	defer g.leftMu.Unlock()
	return len(g.left) > 0
}

// unCR takes away the carriage return a terminal puts before each line feed.
// The chunk is changed in place.
func unCR(b []byte) []byte {
	if !bytes.Contains(b, crlf) {
		return b
	}
	to := b[:0]
	for i, c := range b {
		if c == '\r' && i+1 < len(b) && b[i+1] == '\n' {
			continue
		}
		to = append(to, c)
	}
	return to
}

var crlf = []byte("\r\n") // read only

// lines is a lens that takes away a terminal's carriage returns, also where a
// chunk ends between one and its line feed.
type lines struct {
	cr bool // a carriage return is held
	b  []byte
}

func (l *lines) show(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	l.b = append(append(l.b[:0], l.held()...), b...)
	if l.cr = l.b[len(l.b)-1] == '\r'; l.cr {
		l.b = l.b[:len(l.b)-1]
	}
	return unCR(l.b)
}

func (l *lines) holds() bool { return l.cr }

func (l *lines) held() []byte {
	if !l.cr {
		return nil
	}
	l.cr = false
	return []byte{'\r'}
}

// A lineLog writes what a terminal got as lines.
type lineLog struct {
	w io.Writer
	lines
}

func (l *lineLog) Write(b []byte) (int, error) {
	if text := l.show(b); len(text) > 0 {
		_, _ = l.w.Write(text) // promised not to fail
	}
	return len(b), nil
}

// flush writes what is held.
func (l *lineLog) flush() {
	if rest := l.held(); rest != nil {
		_, _ = l.w.Write(rest) // promised not to fail
	}
}
