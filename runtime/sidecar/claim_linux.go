package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// claimPort keeps every other pillion of this machine from choosing a port for
// an app until the claim is closed: the app opens it only once it runs, and again
// each time it is started anew. It reports false if another one has claimed it.
// A claim is a name in the abstract namespace (unix(7)): like a port it belongs
// to a network namespace, and it goes with the process.
func claimPort(ctx context.Context, port uint16) (claim io.Closer, ok bool) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "unix", fmt.Sprintf("@pillion/app-port/%d", port))
	switch {
	case err == nil:
		return ln, true
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, false
	default: // without claims it is left to chance
		return unclaimed{}, true
	}
}

// unclaimed is a claim that nobody respects.
type unclaimed struct{}

func (unclaimed) Close() error { return nil }
