//go:build unix

package app

import (
	"syscall"
	"time"
)

// firstDial is how long the system may take to connect on the loopback before it
// is asked again.
const firstDial = 10 * time.Millisecond

// errRefused, errNoAddress and errNoFamily are what dialling gives if nobody
// listens, or if the machine has no such address or family (no IPv6, say);
// errReset is a connection that the app threw away.
const (
	errRefused   = syscall.ECONNREFUSED
	errNoAddress = syscall.EADDRNOTAVAIL
	errNoFamily  = syscall.EAFNOSUPPORT
	errReset     = syscall.ECONNRESET
)
