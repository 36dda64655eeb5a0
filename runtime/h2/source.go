package h2

import (
	"net"
	"sync"
)

// Sizes of a connection's read buffers. One that waits for a frame has the
// small one, one that waits for the rest of a large frame the large one.
const (
	smallBuffer = 4 << 10
	largeBuffer = 32 << 10
)

var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// A source is the buffered reading of a connection. Whatever has to be done
// before it waits is done by before.
type source struct {
	nc     net.Conn
	before func()
	small  []byte
	buf    []byte // small, or a large one
	r, w   int
}

func (s *source) buffered() int { return s.w - s.r }

// Read gives what is buffered, or reads.
func (s *source) Read(p []byte) (int, error) {
	if s.r == s.w {
		if err := s.fill(len(p)); err != nil {
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
		if err := s.fill(n); err != nil {
			return nil, err
		}
	}
	b := s.buf[s.r:min(s.w, s.r+n)]
	s.r += len(b)
	return b, nil
}

// fill reads into the empty buffer; want bytes are known to come.
func (s *source) fill(want int) error {
	s.before()
	s.resize(want > smallBuffer)
	for {
		n, err := s.nc.Read(s.buf)
		s.r, s.w = 0, n
		switch {
		case n > 0:
			return nil // an error comes again
		case err != nil:
			return err
		}
	}
}

func (s *source) resize(large bool) {
	switch {
	case s.small == nil:
		s.small = make([]byte, smallBuffer)
		s.buf = s.small
	case large && len(s.buf) == smallBuffer:
		s.buf = largeBuffers.Get().(*[largeBuffer]byte)[:]
	case !large:
		s.release()
	}
}

// release lets go of the large buffer.
func (s *source) release() {
	if len(s.buf) == largeBuffer {
		largeBuffers.Put((*[largeBuffer]byte)(s.buf))
	}
	s.buf, s.r, s.w = s.small, 0, 0
}
