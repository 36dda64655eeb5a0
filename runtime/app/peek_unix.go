//go:build unix

package app

import (
	"io"
	"net"
	"syscall"

	"github.com/pillion-dev/pillion/internal/rawsock"
)

// canLook says that sight sees whether a connection is quiet, so that none has
// to be watched.
const canLook = true

// A sight looks at a connection without waiting. It belongs to who has the
// connection.
type sight struct {
	raw    syscall.RawConn // nil: there is nothing to look at
	look   func(fd uintptr)
	take   func(fd uintptr) bool
	first  func(fd uintptr) bool
	silent bool
	one    [1]byte
	into   []byte
	took   int
	fault  error
}

func newSight(c net.Conn) *sight {
	s := new(sight)
	socket, ok := c.(syscall.Conn)
	if !ok {
		return s
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return s
	}
	s.raw = raw
	s.look = func(fd uintptr) {
		_, err := rawsock.TryPeek(fd, s.one[:])
		s.silent = err == syscall.EAGAIN //nolint:errorlint // bare, by TryPeek
	}
	s.take = func(fd uintptr) bool {
		s.took, _ = rawsock.TryRead(fd, s.into)
		return true
	}
	s.first = func(fd uintptr) bool {
		s.into = takeBuffer()
		if s.took, s.fault = rawsock.TryRead(fd, s.into); s.fault == nil {
			return true
		}
		giveBuffer(s.into)
		s.into = nil
		return s.fault != syscall.EAGAIN //nolint:errorlint // bare, by TryRead
	}
	return s
}

// quiet reports whether an idle connection is still open and nothing has come
// on it, as the kernel sees it now.
func (s *sight) quiet() bool {
	s.silent = false
	if s.raw == nil || s.raw.Control(s.look) != nil {
		return false
	}
	return s.silent
}

// read takes what has come already.
func (s *sight) read(p []byte) int {
	if s.raw == nil {
		return 0
	}
	s.into, s.took = p, 0
	err := s.raw.Read(s.take)
	s.into = nil
	if err != nil || s.took < 0 {
		return 0
	}
	return s.took
}

// canWait reports whether await can be used.
func (s *sight) canWait() bool { return s.raw != nil }

// await waits for something to come and reads it into a buffer, which is the
// caller's. There is none before something comes, so that waiting takes no
// memory and what is read is in the processor's cache.
func (s *sight) await() (buf []byte, n int, err error) {
	err = s.raw.Read(s.first)
	buf, n = s.into, s.took
	s.into = nil
	switch {
	case err == nil && s.fault != nil:
		err = s.fault
	case err == nil && n == 0:
		err = io.EOF
	}
	if err != nil && buf != nil {
		giveBuffer(buf)
		buf = nil
	}
	return buf, n, err
}
