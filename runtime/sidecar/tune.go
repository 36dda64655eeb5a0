package sidecar

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/cores"
	"github.com/pillion-dev/pillion/internal/lifecycle"
	"github.com/pillion-dev/pillion/internal/resident"
)

// gcPercent is how much garbage there may be under load before it is collected,
// as a part of what lives. Little lives in a sidecar, so that with Go's own 100
// a few megabytes of traffic begin a collection; this costs at most some 12 MB
// more, under load only.
const gcPercent = 400

const (
	// loadTick is how often the load is looked at, and loadAllocated what is
	// allocated in that time under load. Below it Go's own way is two collections
	// a second of little that lives. Looking for an app's port on a machine where
	// much listens allocates half of it.
	loadTick      = 2 * time.Second
	loadAllocated = 12 << 20
)

// Tune sets the process for sidecars until ctx ends: what Env.Own does for one,
// somebody does for several. What the user has said by GOGC and GOMAXPROCS in
// environ holds.
func Tune(ctx context.Context, environ []string) error {
	var tasks []lifecycle.Task
	if lookup(environ, "GOGC") == "" {
		before := debug.SetGCPercent(gcPercent)
		defer debug.SetGCPercent(before)
		tasks = append(tasks, lifecycle.Task{Name: "memory", Run: func(ctx context.Context) error {
			followLoad(ctx, allocated(), func(load bool) {
				if load {
					debug.SetGCPercent(gcPercent)
					return
				}
				debug.SetGCPercent(before)
				debug.FreeOSMemory() // what it took to start, or under load
				resident.Trim()
			})
			return nil
		}})
	}
	if lookup(environ, "GOMAXPROCS") == "" {
		tasks = append(tasks, lifecycle.Task{Name: "cores", Run: cores.Governor{}.Run})
	}
	if len(tasks) == 0 {
		<-ctx.Done()
	}
	return lifecycle.Run(ctx, tasks...)
}

// followLoad calls set each time load begins or ends, until ctx ends. The
// process has begun under load: it starts.
func followLoad(ctx context.Context, allocated func() uint64, set func(load bool)) {
	before, load := allocated(), true
	ticker := time.NewTicker(loadTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := allocated()
		if is := now-before >= loadAllocated; is != load {
			load = is
			set(load)
		}
		before = now
	}
}

// allocated returns what tells how many bytes the process has allocated so far.
func allocated() func() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	return func() uint64 {
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
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
