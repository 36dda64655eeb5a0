package app

import "syscall"

// firstDial is all the time there is: this system refuses who finds a queue full,
// and takes its time to say that nobody listens.
const firstDial = dialTimeout

// errRefused, errNoAddress and errNoFamily are what dialling gives if nobody
// listens, or if the machine has no such address or family (no IPv6, say);
// errReset is a connection that the app threw away. They are Winsock's numbers.
const (
	errRefused   = syscall.Errno(10061)
	errNoAddress = syscall.Errno(10049)
	errNoFamily  = syscall.Errno(10047)
	errReset     = syscall.Errno(10054)
)

// isAnswered would report whether a socket that connects has an answer: here it
// has none before we have heard of it.
func isAnswered(syscall.RawConn) bool { return false }
