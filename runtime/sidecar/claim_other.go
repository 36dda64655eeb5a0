//go:build !linux

package sidecar

import (
	"context"
	"io"
	"sync"
)

// claimPort keeps the other apps of this process from getting a port until the
// claim is closed, and reports false if one of them has it. That another process
// chooses the same one is left to chance: no name goes with the process here.
func claimPort(_ context.Context, port uint16) (io.Closer, bool) {
	if _, taken := claimed.LoadOrStore(port, true); taken {
		return nil, false
	}
	return claim(port), true
}

// claimed are the claimed ports.
var claimed sync.Map

type claim uint16

// Close implements io.Closer.
func (c claim) Close() error {
	claimed.Delete(uint16(c))
	return nil
}
