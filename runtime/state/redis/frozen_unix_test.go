//go:build unix

package redis_test

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/state/statetest"
)

// A caller that leaves does not wait for a server that says nothing.
func TestAFrozenServerDoesNotHoldTheCaller(t *testing.T) {
	t.Parallel()
	s := statetest.ServeRedis(t)
	between := cut(t, s.Addr())
	store := open(t, between.ln.Addr().String())
	// A connection of each kind, so that the next requests are only these.
	statetest.Save(t, store, state.Set{Key: "a", Value: []byte("1")})
	statetest.Read(t, store, "a")
	before := between.requests()
	s.Signal(syscall.SIGSTOP)
	t.Cleanup(func() { s.Signal(syscall.SIGCONT) })
	gone := errors.New("the caller has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	results := make(chan error, 2)
	go func() {
		_, err := store.Get(ctx, state.Get{Key: "a"})
		results <- err
	}()
	go func() { results <- store.Transact(ctx, []state.Operation{{Set: &state.Set{Key: "a"}}}) }()
	within.Until(t, "both to have asked", func() bool { return between.requests() >= before+2 })
	cancel(gone)
	for range 2 {
		if err := within.Receive(t, results); !errors.Is(err, gone) {
			t.Errorf("%v, want %v", err, gone)
		}
	}
	s.Signal(syscall.SIGCONT)
}
