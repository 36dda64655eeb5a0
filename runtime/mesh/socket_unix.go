//go:build unix && (race || !linux)

package mesh

import "syscall"

// canTry says that a socket can be asked not to wait.
const canTry = true

// The race detector sees what happened before a write and after a read only in
// calls of package syscall's own.

func tryRead(fd uintptr, p []byte) (n int, err error) {
	for {
		n, err = syscall.Read(int(fd), p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

func tryWrite(fd uintptr, p []byte) (int, error) {
	return syscall.Write(int(fd), p)
}
