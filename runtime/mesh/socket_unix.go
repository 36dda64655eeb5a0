//go:build unix

package mesh

import "syscall"

// canTry says that a socket can be asked not to wait.
const canTry = true

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
