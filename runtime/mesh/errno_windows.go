package mesh

import "syscall"

// Windows' own numbers: package syscall's names are inventions there.
const (
	connRefused = syscall.Errno(10061) // WSAECONNREFUSED
	connReset   = syscall.Errno(10054) // WSAECONNRESET
)
