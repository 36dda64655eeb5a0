package memory_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/state/memory"
	"github.com/pillion-dev/pillion/runtime/state/statetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	statetest.Run(t, func(t *testing.T) statetest.Harness {
		var moved atomic.Int64
		began := time.Now()
		return statetest.Harness{
			Open: func() state.Store {
				s := memory.New(func() time.Time { return began.Add(time.Duration(moved.Load())) })
				t.Cleanup(func() {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
				return s
			},
			Advance: func(d time.Duration) { moved.Add(int64(d)) },
		}
	})
}
