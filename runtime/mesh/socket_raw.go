//go:build linux && !race

package mesh

import (
	"syscall"
	"unsafe"
)

// canTry says that a socket can be asked not to wait.
const canTry = true

// A call that does not wait need not be announced to Go's scheduler, which
// would wake its watcher for each of them.

func tryRead(fd uintptr, p []byte) (int, error) {
	return try(syscall.SYS_READ, fd, p)
}

func tryWrite(fd uintptr, p []byte) (int, error) {
	return try(syscall.SYS_WRITE, fd, p)
}

func try(call, fd uintptr, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p))) //nolint:gosec // as package syscall does
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
