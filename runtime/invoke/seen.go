package invoke

import (
	"io"
	"sync"
)

// seen shows each byte of a body once: what was there to be taken whole may be
// read as well.
type seen struct {
	see func([]byte)

	mu    sync.Mutex // guards what follows
	pos   int64      // where the next read begins
	shown int64      // how far has been shown
}

func (s *seen) read(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.show(p)
	s.pos += int64(len(p))
}

func (s *seen) whole(rest []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.show(rest)
}

// show shows what of p, which begins at pos, has not been shown. Callers hold
// mu.
func (s *seen) show(p []byte) {
	known := s.shown - s.pos
	if known >= int64(len(p)) {
		return
	}
	s.see(p[known:])
	s.shown = s.pos + int64(len(p))
}

// A seenBody shows what is read from a Body.
type seenBody struct {
	Body
	seen   seen
	ended  func(Fields) // gets the trailers; nil: nobody asks
	closed func()       // nil: nobody waits for it
}

func (b *seenBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if n > 0 {
		b.seen.read(p[:n])
	}
	if err == io.EOF && b.ended != nil { //nolint:errorlint // an error that wraps EOF is no end
		b.ended(b.Trailers())
	}
	return n, err
}

func (b *seenBody) Whole() ([]byte, bool) {
	rest, ok := Whole(b.Body)
	if ok {
		b.seen.whole(rest)
	}
	return rest, ok
}

func (b *seenBody) Held() (int64, bool) { return Held(b.Body) }
func (b *seenBody) Line() (any, int64)  { return Line(b.Body) }

func (b *seenBody) Complete() ([]byte, Fields, bool) {
	rest, trailers, ok := Complete(b.Body)
	if ok {
		b.seen.whole(rest)
		if b.ended != nil {
			b.ended(trailers)
		}
	}
	return rest, trailers, ok
}

func (b *seenBody) Close() error {
	err := b.Body.Close()
	if b.closed != nil {
		b.closed()
	}
	return err
}

// A seenTunnel shows what a client sends through a tunnel.
type seenTunnel struct {
	WriteHalf
	see func([]byte)
}

func (t seenTunnel) Write(p []byte) (int, error) {
	n, err := t.WriteHalf.Write(p)
	t.see(p[:n])
	return n, err
}
