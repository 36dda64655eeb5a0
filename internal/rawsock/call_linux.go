//go:build !race

package rawsock

import (
	"syscall"
	"unsafe"
)

// Raw reports whether the calls here are those the scheduler is not told of.
const Raw = true

// TryRead reads what is there from a socket that does not block, which is one
// that Go has opened. The error is a bare syscall.Errno, syscall.EAGAIN if
// there is nothing.
func TryRead(fd uintptr, p []byte) (int, error) { return call(syscall.SYS_READ, fd, p) }

// TryWrite writes what such a socket takes now; the error is as TryRead's.
func TryWrite(fd uintptr, p []byte) (int, error) { return call(syscall.SYS_WRITE, fd, p) }

func call(trap, fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // as syscall does
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// TryPeek is TryRead that leaves what it has read to be read again.
func TryPeek(fd uintptr, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), //nolint:gosec // as syscall does
			syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
