package sidecar

import (
	"context"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/internal/cores"
)

// gcPercent is how much garbage there may be before it is collected, as a part
// of what lives. Little lives in a sidecar, so that with Go's own 100 a few
// megabytes of traffic begin a collection; this costs at most some 12 MB more,
// under load only.
const gcPercent = 400

// Tune sets the process for sidecars until ctx ends: what Env.Own does for one,
// somebody does for several. What the user has said by GOGC and GOMAXPROCS in
// environ holds.
func Tune(ctx context.Context, environ []string) error {
	if lookup(environ, "GOGC") == "" {
		before := debug.SetGCPercent(gcPercent)
		defer debug.SetGCPercent(before)
	}
	if lookup(environ, "GOMAXPROCS") != "" {
		<-ctx.Done()
		return nil
	}
	return cores.Governor{}.Run(ctx)
}

// lookup is the value of name in an environment; the last one counts.
func lookup(environ []string, name string) string {
	for _, pair := range slices.Backward(environ) {
		if key, value, _ := strings.Cut(pair, "="); key == name {
			return value
		}
	}
	return ""
}
