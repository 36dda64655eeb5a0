package app

import "syscall"

// errRefused, errNoAddress and errNoFamily are what dialling gives if nobody
// listens, or if the machine has no such address or family (no IPv6, say);
// errReset is a connection that the app threw away. They are Winsock's numbers.
const (
	errRefused   = syscall.Errno(10061)
	errNoAddress = syscall.Errno(10049)
	errNoFamily  = syscall.Errno(10047)
	errReset     = syscall.Errno(10054)
)
