package mtls_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/mtls"
	"github.com/pillion-dev/pillion/tls/sentry"
)

// Leaves of a few seconds are renewed on both sides while calls go on: none
// may fail, and each may show an old leaf or a new one, never a mixture. They age
// by a clock that goes on once both are renewed and used, so that none ends while a
// busy machine gives the renewal, or a call, no time.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	const life, renewed = 3 * time.Second, 2 * time.Second
	began := time.Now().Truncate(time.Second) // as certificates have it
	var age atomic.Int64
	now := func() time.Time { return began.Add(time.Duration(age.Load())) }
	s := sentry.NewLocal(newCA(t, ca.Options{Now: now}), life)
	rotating := func(app string) *mtls.Workload {
		w, err := mtls.NewWorkload(t.Context(), mtls.Config{ID: id(t, app), Sentry: s, Now: now})
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
	var calls [2]atomic.Int64
	for i := range calls {
		running.Go(func() {
			for ; ctx.Err() == nil; calls[i].Add(1) {
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
		callers, callees := caller.Changed(), callee.Changed()
		age.Add(int64(renewed))
		within.Receive(t, callers)
		within.Receive(t, callees)
		for i := range calls {
			before := calls[i].Load()
			within.Until(t, "a call that began with the new leaves", func() bool {
				return calls[i].Load() > before+1 || t.Failed()
			})
		}
	}
	cancel()
	running.Wait()
}
