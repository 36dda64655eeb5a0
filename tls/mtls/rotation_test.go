package mtls_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/mtls"
	"github.com/pillion-dev/pillion/tls/sentry"
)

// Leaves of a few seconds are renewed on both sides while calls go on: none
// may fail, and each may show an old leaf or a new one, never a mixture.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	s := sentry.NewLocal(newCA(t, ca.Options{}), 3*time.Second)
	rotating := func(app string) *mtls.Workload {
		w, err := mtls.NewWorkload(t.Context(), mtls.Config{ID: id(t, app), Sentry: s})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	caller, callee := rotating("todo-api"), rotating("notification-service")
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, w := range []*mtls.Workload{caller, callee} {
		running.Go(func() { _ = w.Run(ctx) })
	}
	p := listen(t, server(callee))
	cfg := caller.Client(callee.ID(), label, proto)
	for range 2 {
		running.Go(func() {
			for ctx.Err() == nil {
				if _, err := call(t.Context(), p.addr, cfg); err != nil {
					t.Errorf("a call during rotation = %v", err)
					return
				}
				select { // the callee's list of who came is bounded
				case <-p.met:
				default:
				}
			}
		})
	}
	for range 2 {
		within.Receive(t, caller.Changed())
		within.Receive(t, callee.Changed())
	}
	cancel()
	running.Wait()
}
