package mesh_test

import (
	"context"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// The news that the app has the call may travel with the answer. The time
// between is the app's all the same.
func TestTheTimeInTheAppIsTheAppsWhenItsNewsTravelTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const calls = 50
	inApp := make(chan time.Duration, 1)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		began := time.Now()
		c.Reached()
		for time.Since(began) < 2*time.Millisecond {
		}
		inApp <- time.Since(began)
		return answer(200, ""), nil
	})
	tr := w.transport()
	for range calls {
		c := get()
		c.Timing = &invoke.Timing{}
		w.roundTrip(tr, s.at, c)
		if took := within(t, "the time in the app", inApp); c.Timing.App < took {
			t.Fatalf("%v in the app, which took %v itself: %+v", c.Timing.App, took, *c.Timing)
		}
	}
}
