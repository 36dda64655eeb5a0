package app_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/runtime/app"
)

// reads are when the sockets of an app that opens none were read within a
// minute and a half, each reading taking cost.
func reads(t *testing.T, cost time.Duration) []time.Duration {
	t.Helper()
	var at []time.Duration
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		a := app.New(app.Config{Name: "idle", Command: true, Sockets: func() ([]app.Socket, error) {
			at = append(at, time.Since(began))
			time.Sleep(cost) // of the test's clock
			return nil, nil
		}})
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return at
}

// A program without a port costs nearly nothing in the long run, and one that
// opens it is found hardly later than it might be.
func TestTheProcessTreeIsReadLessAndLess(t *testing.T) {
	t.Parallel()
	at := reads(t, 0)
	for i, now := range at[1:] {
		before := at[i]
		if most := max(before/40, 20*time.Millisecond) + time.Millisecond; now-before > most {
			t.Errorf("read at %s and then at %s", before, now)
		}
	}
	late := 0
	for _, now := range at {
		if now >= time.Minute {
			late++
		}
	}
	if late > 31 {
		t.Errorf("read %d times in the last half minute", late)
	}
}

// Where reading is slow it still takes no more than a tenth of a core.
func TestReadingTheProcessTreeIsBoundedByWhatItCosts(t *testing.T) {
	t.Parallel()
	const cost = 30 * time.Millisecond
	if n := len(reads(t, cost)); time.Duration(n)*cost > 9*time.Second {
		t.Errorf("%d readings of %s each in 90s", n, cost)
	}
}
