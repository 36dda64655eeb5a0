package sidecar

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Memory is given back when the load has ended, once, and not while it lasts.
func TestLoadIsFollowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var total atomic.Uint64
		total.Store(100 << 20) // the start's
		said := make(chan bool, 10)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			followLoad(ctx, total.Load, func(load bool) { said <- load })
		}()
		synctest.Wait()
		for i, tick := range []struct {
			allocated uint64
			said      []bool
		}{
			{loadAllocated, nil}, // still starting
			{loadAllocated - 1, []bool{false}},
			{0, nil},
			{loadAllocated, []bool{true}},
			{10 * loadAllocated, nil},
			{1, []bool{false}},
		} {
			total.Add(tick.allocated)
			time.Sleep(loadTick)
			synctest.Wait()
			var got []bool
			for len(said) > 0 {
				got = append(got, <-said)
			}
			if !slices.Equal(got, tick.said) {
				t.Errorf("tick %d, %d bytes: it said %v, want %v", i, tick.allocated, got, tick.said)
			}
		}
		cancel()
		<-ended
	})
}
