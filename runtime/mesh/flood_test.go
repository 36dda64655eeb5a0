package mesh_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Refusals are answers too: who asks for them without end and reads none must
// not make us keep them.
func TestAPeerThatDoesNotReadItsRefusalsIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var refused atomic.Int64
	s := w.serve(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		refused.Add(1)
		return nil, &apperr.Error{Reason: apperr.AccessDenied, What: string(pattern(8<<10, 1)), Reached: apperr.ReachedNo}
	})
	p := w.dialRaw(t, s.at.Addrs[0].String())
	_ = p.SetWriteDeadline(time.Now().Add(patience))
	_, err := p.Write(frame(2, 0, hello))
	// A frame that nobody knows is skipped, and shows that the link is there.
	isCut := func() bool {
		_, err = p.Write(frame(99, 0, ""))
		return err != nil
	}
	const calls = 10_000 // 80 MiB of refusals
	for i := 0; i < calls && err == nil; i++ {
		// Their number at once must not be what cuts the link off.
		until(t, "calls are refused", func() bool { return refused.Load() > int64(i-500) || isCut() })
		_, err = p.Write(frame(16|theEnd, uint32(i+1), head("GET", "/")))
	}
	until(t, "the link is cut off", func() bool { return refused.Load() == calls || isCut() })
	if refused.Load() == calls {
		t.Fatalf("%d refusals are kept for a peer that reads none", calls)
	}
}

// What a head says of a body that does not follow must not reach the app's
// framing: the next call's bytes would be that body.
func TestACallThatEndsWithItsHeadHasNoLength(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := make(chan *invoke.Call, 1)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		got <- c
		return answer(200, ""), nil
	})
	p := w.dialRaw(t, s.at.Addrs[0].String())
	lying := []byte(head("POST", "/"))
	lying[4] = 11 // a length of ten
	_, _ = p.Write(join(frame(2, 0, hello), frame(16|theEnd, 1, string(lying))))
	if c := within(t, "the call", got); c.Body != nil || c.Length != 0 {
		t.Errorf("body %v, length %d", c.Body, c.Length)
	}
}
