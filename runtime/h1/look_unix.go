//go:build unix

package h1

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// gone are those of calls whose client has ended its connection. The system is
// asked once for all; whoever it names is looked at more closely.
func (s *Server) gone(calls []*Exchange) []*Exchange {
	if len(calls) == 0 {
		return nil
	}
	fds := make([]unix.PollFd, len(calls))
	for i, x := range calls {
		fds[i] = unix.PollFd{Fd: int32(x.c.fd), Events: pollGone} //nolint:gosec // a descriptor is an int32
	}
	if n, err := unix.Poll(fds, 0); n <= 0 || err != nil {
		return nil // the next look asks again
	}
	var gone []*Exchange
	for i, x := range calls {
		if events := fds[i].Revents; events != 0 && x.c.call.Load() == x && x.left(events) {
			gone = append(gone, x)
		}
	}
	return gone
}

// left reports whether the client has left. By now the descriptor may be
// another's, so nothing is believed that the connection itself does not say.
func (x *Exchange) left(events int16) bool {
	left := false
	err := x.c.raw.Control(func(fd uintptr) {
		var one [1]byte
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EAGAIN || err == syscall.EINTR:
		case err != nil:
			left = true
		case n == 0:
			left = !x.ahead // the end may belong to requests that are here already
		default:
			// What comes before the end may be the rest of the body, or
			// another request.
			left = events&(unix.POLLHUP|unix.POLLERR) != 0
		}
	})
	return err != nil || left
}
