package filelock

import (
	"errors"
	"os"
	"syscall"
	"unsafe"
)

// The two calls the syscall package lacks.
var (
	kernel32     = syscall.NewLazyDLL("kernel32.dll")
	lockFileEx   = kernel32.NewProc("LockFileEx")
	unlockFileEx = kernel32.NewProc("UnlockFileEx")
)

const (
	failImmediately = 1                  // LOCKFILE_FAIL_IMMEDIATELY
	exclusively     = 2                  // LOCKFILE_EXCLUSIVE_LOCK
	lockViolation   = syscall.Errno(33)  // ERROR_LOCK_VIOLATION
	ioPending       = syscall.Errno(997) // ERROR_IO_PENDING
)

// place is one byte far beyond the end. Locks are mandatory here, so the
// bytes people read must stay free.
func place() *syscall.Overlapped { return &syscall.Overlapped{OffsetHigh: 0x4000_0000} }

func lock(f *os.File, m mode) error {
	flags := uintptr(failImmediately)
	if m == exclusive {
		flags |= exclusively
	}
	ok, _, err := lockFileEx.Call(f.Fd(), flags, 0, 1, 0, uintptr(unsafe.Pointer(place())))
	switch {
	case ok != 0:
		return nil
	case errors.Is(err, lockViolation), errors.Is(err, ioPending):
		return errWouldBlock
	default:
		return err
	}
}

func unlock(f *os.File) {
	_, _, _ = unlockFileEx.Call(f.Fd(), 0, 1, 0, uintptr(unsafe.Pointer(place()))) // closing releases it too
}
