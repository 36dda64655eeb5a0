package mesh_test

import (
	"context"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// What a small call may allocate in this package, both sides together: at the
// caller the call, the text and the fields of the answer, and the watch of its
// context; at the callee the call, its text, its fields, its context, its
// goroutine, and what it gives the handler to be told by.
const allocationsOfACall = 11

func TestASmallCallKeepsItsAllocationBudget(t *testing.T) { //nolint:paralleltest // counts allocations
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w := newWorld(t)
	reply := &invoke.Answer{
		Status: 200, Major: 1, Fields: invoke.Fields{{Name: "Content-Type", Value: "application/json"}},
		Body: invoke.BytesBody([]byte(`{"status":"received"}`)), Length: 21,
	}
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if _, ok := invoke.Whole(c.Body); !ok {
			t.Error("the body is not there")
		}
		c.Reached()
		return reply, nil
	})
	tr, want, ctx := w.transport(), w.callee.ID(), callctx.New(t.Context(), time.Time{})
	c := call(benchBody)
	c.Timing = &invoke.Timing{}
	one := func() {
		a, err := tr.Send(ctx, s.at, want, c)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := invoke.Whole(a.Body); !ok {
			t.Error("the answer is not there")
		}
		_ = a.Body.Close()
	}
	one()
	const ofTLS = 4 // at each end, for a record and for seeing that none follows
	got := testing.AllocsPerRun(200, one)
	t.Logf("%v allocations a call", got)
	if got > allocationsOfACall+ofTLS {
		t.Errorf("%v allocations a call, want %d at most", got, allocationsOfACall+ofTLS)
	}
}
