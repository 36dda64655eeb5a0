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
	// show turns what was read into what dst gets; nil leaves it.
	show func([]byte) []byte

	draining atomic.Bool
	done     chan struct{}
}

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
	for {
		if s.draining.Load() {
			// Each read anew: a slow dst must not use up the time of src.
			_ = s.src.SetReadDeadline(time.Now().Add(drainQuiet)) // without one the read waits for the end
		}
		n, err := s.src.Read(b)
		if n > 0 && !s.pass(b[:n]) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass writes b to both sinks. It returns false if dst's reader is gone: src
// is closed then, so that the app gets the broken pipe it would have had.
func (s *stream) pass(b []byte) bool {
	if s.log != nil {
		_, _ = s.log.Write(b) // promised not to fail
	}
	if s.dst == nil {
		return true
	}
	if s.show != nil {
		b = s.show(b)
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

// A guarded writer is written to by one at a time.
type guarded struct {
	mu sync.Mutex // guards what follows
	w  io.Writer
}

func (g *guarded) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.w.Write(b)
}

// tryWrite writes unless somebody else is writing.
func (g *guarded) tryWrite(b []byte) {
	if g.mu.TryLock() {
		defer g.mu.Unlock()
		_, _ = g.w.Write(b) // an echo: nobody misses it
	}
}

// unCR takes away the carriage return a terminal puts before each line feed.
// One at the end of a chunk is passed on: it may be a progress bar's, which
// waits for nothing. The chunk is changed in place.
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

// lineLog writes what a terminal got with its carriage returns before line
// feeds taken away, also where a chunk ends between the two.
type lineLog struct {
	w    io.Writer
	held bool // a carriage return whose successor is not known yet
	b    []byte
}

func (l *lineLog) Write(b []byte) (int, error) {
	n := len(b)
	if n == 0 {
		return 0, nil
	}
	l.b = l.b[:0]
	if l.held {
		l.b = append(l.b, '\r')
	}
	l.b = append(l.b, b...)
	if l.held = l.b[len(l.b)-1] == '\r'; l.held {
		l.b = l.b[:len(l.b)-1]
	}
	if len(l.b) == 0 {
		return n, nil
	}
	_, err := l.w.Write(unCR(l.b))
	return n, err
}

// flush writes what is held.
func (l *lineLog) flush() {
	if l.held {
		l.held = false
		_, _ = l.w.Write([]byte{'\r'}) // promised not to fail
	}
}
