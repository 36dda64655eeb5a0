package lifecycle_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/internal/lifecycle"
)

func TestRunWaitsForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		start := time.Now()
		err := lifecycle.Run(t.Context(),
			lifecycle.Task{Name: "short", Run: func(context.Context) error { time.Sleep(time.Second); return boom }},
			lifecycle.Task{Name: "slow to stop", Run: func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Minute)
				if cause := context.Cause(ctx); !errors.Is(cause, boom) {
					t.Errorf("cause = %v, want %v", cause, boom)
				}
				return context.Cause(ctx)
			}},
		)
		if !errors.Is(err, boom) || err.Error() != "short: boom" {
			t.Errorf("Run = %v, want short: boom", err)
		}
		if got, want := time.Since(start), time.Minute+time.Second; got != want {
			t.Errorf("Run took %v, want %v", got, want)
		}
	})
}

func TestWhatDoesNotEndIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		release := make(chan struct{})
		stuck := func(context.Context) error { <-release; return nil }
		start := time.Now()
		err := lifecycle.RunWithin(t.Context(), time.Minute,
			lifecycle.Task{Name: "short", Run: func(context.Context) error { return boom }},
			lifecycle.Task{Name: "mesh", Run: stuck},
			lifecycle.Task{Name: "door", Run: stuck},
			lifecycle.Task{Name: "good", Run: func(ctx context.Context) error { <-ctx.Done(); return nil }},
		)
		late, ok := errors.AsType[*lifecycle.LateError](err)
		if !ok || !slices.Equal(late.Tasks, []string{"door", "mesh"}) || !errors.Is(err, boom) || time.Since(start) != time.Minute {
			t.Errorf("RunWithin = %v after %v", err, time.Since(start))
		}
		close(release)
	})
}

func TestRunEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wait := func(ctx context.Context) error { <-ctx.Done(); return nil }
		if err := lifecycle.Run(ctx, lifecycle.Task{Name: "a", Run: wait}, lifecycle.Task{Name: "b", Run: wait}); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

func TestATaskThatIsDoneEndsTheOthers(t *testing.T) {
	t.Parallel()
	err := lifecycle.Run(t.Context(),
		lifecycle.Task{Name: "done", Run: func(context.Context) error { return nil }},
		lifecycle.Task{Name: "other", Run: func(ctx context.Context) error { <-ctx.Done(); return errors.New("late") }},
	)
	if err != nil {
		t.Errorf("Run = %v, want the first task's nil", err)
	}
}

func TestRunOfNothingReturns(t *testing.T) {
	t.Parallel()
	if err := lifecycle.Run(t.Context()); err != nil {
		t.Errorf("Run() = %v", err)
	}
}
