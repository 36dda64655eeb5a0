//go:build unix

package h1

import (
	"net"
	"syscall"

	"github.com/pillion-dev/pillion/internal/rawsock"
)

// rawConn is nc as the system has it, if it can be read there.
func rawConn(nc net.Conn) (raw syscall.RawConn, fd int, ok bool) {
	s, ok := nc.(syscall.Conn)
	if !ok {
		return nil, 0, false
	}
	raw, err := s.SyscallConn()
	if err != nil || raw.Control(func(n uintptr) { fd = int(n) }) != nil {
		return nil, 0, false
	}
	return raw, fd, true
}

// readNow reads what is there. again is true if nothing is.
func readNow(fd uintptr, p []byte) (n int, again bool, err error) {
	n, err = rawsock.TryRead(fd, p)
	if err == syscall.EAGAIN { //nolint:errorlint // bare, by TryRead
		return 0, true, nil
	}
	return n, false, err
}
