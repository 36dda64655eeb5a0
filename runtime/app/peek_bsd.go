//go:build unix && !linux

package app

// msgDontWait is nothing: Go's sockets do not block.
const msgDontWait = 0
