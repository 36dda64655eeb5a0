package mesh_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A server that stops has told its callers which call was its last one before
// the connection is closed, also to those who are still writing.
func TestAServerThatStopsUnderLoadProvesWhatItHasNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const rounds, workers = 40, 16
	for round := range rounds {
		var taken sync.Map
		s := w.serve(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
			taken.Store(c.Path, true)
			return echo(ctx, c)
		})
		tr := w.transport()
		var made atomic.Int32
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				for n := 0; ; n++ {
					c := call("body")
					c.Path = fmt.Sprintf("/%d/%d/%d", round, worker, n)
					a, err := tr.Send(t.Context(), s.at, w.callee.ID(), c)
					if err == nil {
						_, _ = io.Copy(io.Discard, a.Body) // it may have been cut
						_ = a.Body.Close()
						made.Add(1)
						continue
					}
					if _, known := taken.Load(c.Path); !known && apperr.From(err).Reached != apperr.ReachedNo {
						t.Errorf("%s was not taken, and its error does not say so: %v", c.Path, err)
					}
					return
				}
			})
		}
		until(t, "calls are made", func() bool { return made.Load() > 100 })
		s.stop()
		wg.Wait()
	}
}
