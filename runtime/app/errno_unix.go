//go:build unix

package app

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// firstDial is how long the system may take to connect on the loopback before it
// is asked again.
const firstDial = 10 * time.Millisecond

// errRefused, errNoAddress and errNoFamily are what dialling gives if nobody
// listens, or if the machine has no such address or family (no IPv6, say);
// errReset is a connection that the app threw away.
const (
	errRefused   = syscall.ECONNREFUSED
	errNoAddress = syscall.EADDRNOTAVAIL
	errNoFamily  = syscall.EAFNOSUPPORT
	errReset     = syscall.ECONNRESET
)

// isAnswered reports whether a socket that connects has an answer, be it a
// refusal, as the kernel sees it now.
func isAnswered(socket syscall.RawConn) bool {
	answered := false
	err := socket.Control(func(fd uintptr) {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0) //nolint:gosec // a descriptor
		answered = err == nil && n > 0
	})
	return err == nil && answered
}
