package callctx_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
)

var errGone = errors.New("the client is gone")

func TestCancelEndsTheContextWithItsCause(t *testing.T) {
	t.Parallel()
	c := callctx.New(t.Context(), time.Time{})
	if c.Err() != nil || callctx.Cause(c) != nil {
		t.Fatal("ended before it was cancelled")
	}
	c.Cancel(errGone)
	c.Cancel(nil) // only the first counts
	<-c.Done()
	if !errors.Is(c.Err(), context.Canceled) || !errors.Is(callctx.Cause(c), errGone) {
		t.Errorf("Err %v, Cause %v", c.Err(), callctx.Cause(c))
	}
}

func TestTheDeadlineEndsTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := callctx.New(t.Context(), began.Add(time.Minute))
		<-c.Done()
		if time.Since(began) != time.Minute || !errors.Is(c.Err(), context.DeadlineExceeded) {
			t.Errorf("ended after %s with %v", time.Since(began), c.Err())
		}
	})
}

func TestADeadlineMayBeKnownLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c := callctx.New(t.Context(), time.Time{})
		c.Limit(began.Add(time.Minute))
		if d, ok := c.Deadline(); !ok || d.Sub(began) != time.Minute {
			t.Errorf("Deadline %v, %v", d, ok)
		}
		<-c.Done()
		if time.Since(began) != time.Minute || !errors.Is(c.Err(), context.DeadlineExceeded) {
			t.Errorf("ended after %s with %v", time.Since(began), c.Err())
		}
		ended := callctx.New(t.Context(), time.Time{})
		ended.Cancel(errGone)
		ended.Limit(time.Now().Add(time.Hour)) // leaves no timer behind
		if !errors.Is(callctx.Cause(ended), errGone) {
			t.Errorf("Cause %v", callctx.Cause(ended))
		}
	})
}

func TestADerivedContextEndsWithIt(t *testing.T) {
	t.Parallel()
	c := callctx.New(t.Context(), time.Time{})
	derived, stop := context.WithTimeout(c, time.Hour)
	defer stop()
	c.Cancel(errGone)
	<-derived.Done()
	if !errors.Is(derived.Err(), context.Canceled) {
		t.Errorf("Err %v", derived.Err())
	}
}

// Deriving a context looks whether the parent has ended, takes its own lock and
// then asks to be told. A parent that ends in between must not answer in the
// same goroutine, which has that lock.
func TestAContextIsDerivedWhileItsParentEnds(t *testing.T) {
	t.Parallel()
	parent := callctx.New(t.Context(), time.Time{})
	parent.Cancel(errGone)
	derived := make(chan context.Context, 1)
	go func() {
		ctx, stop := context.WithCancel(endsLater{parent})
		defer stop()
		<-ctx.Done()
		derived <- ctx
	}()
	if err := within.Receive(t, derived).Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("Err %v", err)
	}
}

// endsLater is a context that has not ended yet when it is looked at.
type endsLater struct{ *callctx.Context }

func (endsLater) Done() <-chan struct{} { return make(chan struct{}) }

func TestOnEndCallsOnceAndNotAfterStop(t *testing.T) {
	t.Parallel()
	for name, ctx := range map[string]context.Context{
		"ours":    callctx.New(t.Context(), time.Time{}),
		"derived": derive(t, callctx.New(t.Context(), time.Time{})),
	} {
		var called, stopped atomic.Int32
		done := make(chan struct{})
		callctx.OnEnd(ctx, func() { called.Add(1); close(done) })
		w := callctx.OnEnd(ctx, func() { stopped.Add(1) })
		if !w.Stop() || w.Stop() {
			t.Errorf("%s: Stop does not say that it stopped once", name)
		}
		switch c := ctx.(type) {
		case *callctx.Context:
			c.Cancel(nil)
		case cancelled:
			c.parent.Cancel(nil)
		}
		<-done
		if called.Load() != 1 || stopped.Load() != 0 {
			t.Errorf("%s: called %d times, the stopped one %d times", name, called.Load(), stopped.Load())
		}
	}
}

// cancelled is a standard context derived from one of ours.
type cancelled struct {
	context.Context //nolint:containedctx // this is a context
	parent          *callctx.Context
}

func derive(t *testing.T, parent *callctx.Context) context.Context {
	t.Helper()
	ctx, stop := context.WithCancel(parent)
	t.Cleanup(stop)
	return cancelled{ctx, parent}
}

func TestOnEndOfAnEndedContextCallsAtOnce(t *testing.T) {
	t.Parallel()
	c := callctx.New(t.Context(), time.Time{})
	c.Cancel(nil)
	called := false
	w := callctx.OnEnd(c, func() { called = true })
	if !called || w.Stop() {
		t.Error("not called, or stopped though it was called")
	}
}

func TestConcurrentWatchersAreEachCalledOrStopped(t *testing.T) {
	t.Parallel()
	c := callctx.New(t.Context(), time.Time{})
	var called, stopped atomic.Int32
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			w := callctx.OnEnd(c, func() { called.Add(1) })
			if w.Stop() {
				stopped.Add(1)
			}
		})
	}
	wg.Go(func() { c.Cancel(nil) })
	wg.Wait()
	if n := called.Load() + stopped.Load(); n != 200 {
		t.Errorf("%d of 200 were called or stopped", n)
	}
}

func TestACallCostsOneAllocation(t *testing.T) { //nolint:paralleltest // counts allocations
	ctx, f := t.Context(), func() {}
	got := testing.AllocsPerRun(100, func() {
		c := callctx.New(ctx, time.Time{})
		w := callctx.OnEnd(c, f)
		w.Stop()
		c.Cancel(nil)
	})
	if got > 1 {
		t.Errorf("%v allocations", got)
	}
}
