//go:build unix && (!linux || race)

package rawsock

import (
	"runtime"
	"syscall"
)

// Raw reports whether the calls here are those the scheduler is not told of. The
// race detector has to be told: what one goroutine writes to a socket before
// another reads it has happened before.
const Raw = runtime.GOOS == "linux"

// TryRead reads what is there from a socket that does not block, which is one
// that Go has opened. The error is a bare syscall.Errno, syscall.EAGAIN if
// there is nothing.
func TryRead(fd uintptr, p []byte) (n int, err error) {
	for {
		if n, err = syscall.Read(int(fd), p); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// TryWrite writes what such a socket takes now; the error is as TryRead's.
func TryWrite(fd uintptr, p []byte) (n int, err error) {
	for {
		if n, err = syscall.Write(int(fd), p); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// TryPeek is TryRead that leaves what it has read to be read again.
func TryPeek(fd uintptr, p []byte) (n int, err error) {
	for {
		if n, _, err = syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK); err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}
