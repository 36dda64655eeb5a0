//go:build unix

package app

import (
	"net"
	"syscall"
)

// quiet reports whether an idle connection is still open and nothing has come
// on it, as the kernel sees it now. The goroutine that reads the connection
// may not have been told yet.
func quiet(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	// Control, not Read: a read is in progress, and must not be waited for.
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|msgDontWait)
		silent = err == syscall.EAGAIN || err == syscall.EINTR
	})
	return err == nil && silent
}
