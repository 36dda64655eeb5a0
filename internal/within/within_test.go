package within_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
)

// failing is a test that keeps what it was ended with.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// said is what a wait that reaches its bound ends the test with.
func said(t *testing.T, wait func(t testing.TB)) string {
	t.Helper()
	f := &failing{TB: t}
	ended := make(chan struct{})
	go func() { defer close(ended); wait(f) }()
	<-ended
	return f.said
}

func TestEveryWaitEndsWithWords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if got := said(t, func(t testing.TB) { within.Receive(t, make(chan int)) }); got != "waited 1m0s, and nothing came" {
			t.Errorf("Receive: %q", got)
		}
		if took := time.Since(began); took != within.Patience {
			t.Errorf("Receive took %v", took)
		}
		if got := said(t, func(t testing.TB) { within.Until(t, "the tide", func() bool { return false }) }); got != "waited 1m0s for the tide" {
			t.Errorf("Until: %q", got)
		}
		ctx := within.Context(t)
		if _, limited := ctx.Deadline(); limited {
			t.Error("Context has a deadline")
		}
		<-ctx.Done()
		if cause := context.Cause(ctx); cause.Error() != "the test's patience of 1m0s has ended" {
			t.Errorf("cause = %v", cause)
		}
	})
}

func TestWhatComesInTimeIsReturned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := make(chan int, 1)
		time.AfterFunc(within.Patience-time.Second, func() { c <- 7; close(c) })
		if v := within.Receive(t, c); v != 7 {
			t.Errorf("Receive = %d", v)
		}
		if v := within.Receive(t, c); v != 0 {
			t.Errorf("Receive of a closed channel = %d", v)
		}
		began := time.Now()
		within.Until(t, "a second to pass", func() bool { return time.Since(began) > time.Second })
	})
}

func TestALimitPassesWhenItIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := within.Limited(t)
		child, cancel := context.WithCancel(l)
		defer cancel()
		if at, limited := l.Deadline(); !limited || time.Until(at) != time.Hour || l.Err() != nil || child.Err() != nil {
			t.Errorf("%v, %v, %v, %v", at, limited, l.Err(), child.Err())
		}
		l.Move(time.Now())
		if at, _ := l.Deadline(); !at.Equal(time.Now()) || l.Err() != nil {
			t.Errorf("moved to %v: %v", at, l.Err())
		}
		l.Pass()
		l.Pass()
		<-child.Done()
		for _, ctx := range []context.Context{l, child} {
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				t.Errorf("%v, because of %v", ctx.Err(), context.Cause(ctx))
			}
		}
	})
}
