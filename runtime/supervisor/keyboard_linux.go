package supervisor

import (
	"time"

	"golang.org/x/sys/unix"
)

// noKey in a terminal's table of keys means that there is none.
const noKey = 0

// awaitReadable waits until one of the descriptors can be read; those below
// zero are left out. A wait below zero has no end. An interrupted wait reports
// neither.
func awaitReadable(fd, wake int, wait time.Duration) (readable, woken bool) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(wake), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
	millis := -1
	if wait >= 0 {
		millis = int(wait.Milliseconds())
	}
	if _, err := unix.Poll(fds, millis); err != nil {
		return false, false
	}
	return fds[0].Revents != 0, fds[1].Revents != 0
}
