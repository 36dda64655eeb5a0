package h2

import (
	"net"
	"sync"
)

// Sizes of a connection's read buffer: an idle one has the small one.
const (
	smallBuffer = 4 << 10
	largeBuffer = 32 << 10
)

var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// A source is the buffered reading of a connection. Whatever has to be done
// before it waits is done by before; busy says whether large reads are worth
// their memory.
type source struct {
	nc     net.Conn
	before func()
	busy   func() bool
	buf    []byte
	r, w   int
	full   bool // the last read filled the buffer
}

func (s *source) buffered() int { return s.w - s.r }

// Read gives what is buffered, or reads.
func (s *source) Read(p []byte) (int, error) {
	if s.r == s.w {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.buf[s.r:s.w])
	s.r += n
	return n, nil
}

// next gives between 1 and n bytes, good until the next call.
func (s *source) next(n int) ([]byte, error) {
	if s.r == s.w {
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
	b := s.buf[s.r:min(s.w, s.r+n)]
	s.r += len(b)
	return b, nil
}

// fill reads into the empty buffer.
func (s *source) fill() error {
	s.before()
	s.resize()
	for {
		n, err := s.nc.Read(s.buf)
		s.r, s.w, s.full = 0, n, n == len(s.buf)
		switch {
		case n > 0:
			return nil // an error comes again
		case err != nil:
			return err
		}
	}
}

// resize takes the large buffer while much comes and the small one else.
func (s *source) resize() {
	switch {
	case s.buf == nil:
		s.buf = make([]byte, smallBuffer)
	case len(s.buf) == smallBuffer && s.full:
		s.buf = largeBuffers.Get().(*[largeBuffer]byte)[:]
	case len(s.buf) == largeBuffer && !s.full && !s.busy():
		s.release()
		s.buf = make([]byte, smallBuffer)
	}
}

// release lets go of the buffer.
func (s *source) release() {
	if len(s.buf) == largeBuffer {
		largeBuffers.Put((*[largeBuffer]byte)(s.buf))
	}
	s.buf, s.r, s.w = nil, 0, 0
}
