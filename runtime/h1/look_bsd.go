//go:build unix && !linux

package h1

import "golang.org/x/sys/unix"

// pollGone asks for anything, the end included.
const pollGone = unix.POLLIN
