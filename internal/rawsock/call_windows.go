package rawsock

import "syscall"

// Raw reports whether the calls here are those the scheduler is not told of.
const Raw = false

// TryRead cannot be had: Windows has no sockets that say they would block.
func TryRead(uintptr, []byte) (int, error) { return 0, syscall.ENOTSUP }

// TryWrite cannot be had either.
func TryWrite(uintptr, []byte) (int, error) { return 0, syscall.ENOTSUP }
