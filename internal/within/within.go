// Package within has the waits of tests. Each has a bound, wide enough for a
// machine that is slow and busy, and ends the test with words when it is
// reached: a test that hangs says nothing, and takes its whole package with it.
package within

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Patience is how long every wait may take.
const Patience = time.Minute

// Receive returns what comes from a channel, or its zero value if the channel
// is closed. It must be called by the test's own goroutine.
func Receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case v := <-from:
		return v
	case <-timer.C:
		t.Fatalf("waited %v, and nothing came", Patience)
		panic("unreachable")
	}
}

// Until waits until what holds. It must be called by the test's own goroutine.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); {
		if time.Since(began) > Patience {
			t.Fatalf("waited %v for %s", Patience, what)
		}
		time.Sleep(2 * time.Millisecond) // between looks at a condition
	}
}

// Context ends with the test, or when the test's patience does; the cause tells
// which. It has no deadline, which would be told to whoever is called.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(Patience, func() {
		cancel(fmt.Errorf("the test's patience of %v has ended", Patience))
	})
	t.Cleanup(func() { timer.Stop(); cancel(nil) })
	return ctx
}

// A Limit is the context of something that may take an hour, until the test says
// that the time is up, or as good as up: a short limit may pass on a busy machine
// before what it is for has begun.
type Limit struct {
	context.Context //nolint:containedctx // it is one
	deadline        atomic.Pointer[time.Time]
	over            chan struct{}
	once            sync.Once
}

// Limited makes a Limit. It passes with the test's patience.
func Limited(t testing.TB) *Limit {
	t.Helper()
	l := &Limit{Context: Context(t), over: make(chan struct{})}
	l.Move(time.Now().Add(time.Hour))
	context.AfterFunc(l.Context, l.Pass)
	return l
}

// Move sets another deadline, which does not pass by itself.
func (l *Limit) Move(deadline time.Time) { l.deadline.Store(&deadline) }

// Pass ends the context as its deadline would. It may be called again.
func (l *Limit) Pass() { l.once.Do(func() { close(l.over) }) }

// Deadline implements context.Context.
func (l *Limit) Deadline() (time.Time, bool) { return *l.deadline.Load(), true }

// Done implements context.Context.
func (l *Limit) Done() <-chan struct{} { return l.over }

// Err implements context.Context.
func (l *Limit) Err() error {
	select {
	case <-l.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}
