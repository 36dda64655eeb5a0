package supervisor

import (
	"time"

	"golang.org/x/sys/unix"
)

// noKey in a terminal's table of keys means that there is none.
const noKey = 0xff

// awaitReadable waits until one of the descriptors can be read; those below
// zero are left out. A wait below zero has no end. An interrupted wait reports
// neither. It is select because poll does not know terminals on macOS.
func awaitReadable(fd, wake int, wait time.Duration) (readable, woken bool) {
	var set unix.FdSet
	set.Set(wake)
	if fd >= 0 {
		set.Set(fd)
	}
	var limit *unix.Timeval
	if wait >= 0 {
		t := unix.NsecToTimeval(wait.Nanoseconds())
		limit = &t
	}
	if _, err := unix.Select(max(fd, wake)+1, &set, nil, nil, limit); err != nil {
		return false, false
	}
	return fd >= 0 && set.IsSet(fd), set.IsSet(wake)
}
