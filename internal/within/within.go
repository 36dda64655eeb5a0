// Package within has the waits of tests. Each has a bound, wide enough for a
// machine that is slow and busy, and ends the test with words when it is
// reached: a test that hangs says nothing, and takes its whole package with it.
package within

import (
	"context"
	"fmt"
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
