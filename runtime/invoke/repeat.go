package invoke

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
)

const (
	// maxRepeats bounds our own repeats of one call.
	maxRepeats = 3
	// Of the calls to one app within the last windowSeconds one in repeatShare
	// may be repeated, and repeatFloor in each second whatever the calls are.
	repeatShare   = 5
	repeatFloor   = 10
	windowSeconds = 10
)

// FieldIdempotencyKey is the field by which a client says that its call may be
// carried out twice, because the app knows it by the key.
const FieldIdempotencyKey = "Idempotency-Key"

// Idempotent reports whether c's method may be carried out twice (RFC 9110
// §9.2.2).
func (c *Call) Idempotent() bool {
	switch c.Verb {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	default:
		return false
	}
}

// harmless reports whether c may be repeated though an app may have seen it.
func (c *Call) harmless() bool {
	return c.Upgrade == "" && (c.Idempotent() || c.Fields.Get(FieldIdempotencyKey) != "")
}

// again returns nil if an attempt that may have reached an app and failed so is
// to be made once more, or why the call fails.
func (a *attempts) again(ctx context.Context, failed *apperr.Error) *apperr.Error {
	if !a.mayRepeat(ctx, failed) {
		return failed
	}
	if !a.allowance.take(time.Now()) {
		a.i.refused.Add(1)
		return with(failed, "not sent again: a fifth of the last calls to the app have been, which is the limit")
	}
	a.i.repeated.Add(1)
	a.repeats++
	a.maybe = failed
	return nil
}

// mayRepeat reports whether an attempt that may have reached an app may be made
// once more, as far as the call itself says.
func (a *attempts) mayRepeat(ctx context.Context, failed *apperr.Error) bool {
	if a.asWritten || failed.Reached == apperr.ReachedNo || a.committed.Load() || a.repeats >= maxRepeats || ctx.Err() != nil {
		return false
	}
	switch failed.Reason {
	case apperr.PeerGone, apperr.PeerUnreachable, apperr.AppGone, apperr.AppUnreachable, apperr.GRPCAppUnavailable, apperr.Refused:
		return a.c.harmless() && (a.body == nil || a.body.possible())
	default:
		return false
	}
}

// worst is what is told of a call that failed with failed in the end: a proof
// that its last attempt reached nobody is none that an earlier one did not.
func (a *attempts) worst(failed *apperr.Error) *apperr.Error {
	switch {
	case a.maybe == nil:
		return failed
	case failed.Reason == apperr.DeadlineExceeded || failed.Reason == apperr.Cancelled:
		late := *failed
		late.Reached = apperr.ReachedMaybe
		return &late
	case failed.Reached == apperr.ReachedMaybe && failed != a.maybe:
		return failed
	}
	then := "then "
	if a.held > 0 {
		then = "after waiting " + short(a.held) + " "
	}
	if failed == a.maybe {
		return with(failed, then+"nobody took it once more")
	}
	return with(a.maybe, then+failed.What)
}

// with is e with one more thing that was observed.
func with(e *apperr.Error, cause string) *apperr.Error {
	more := *e
	if more.Cause != "" {
		cause = more.Cause + "; " + cause
	}
	more.Cause = cause
	return &more
}

// An allowance is how many calls to one app may be repeated. It is each app's
// own, so that one that fails uses up nobody else's, and calls to apps that do
// well do not pay for more load on the one that does not. Its zero value is
// ready.
type allowance struct {
	calls   window
	mu      sync.Mutex // one at a time may take
	repeats window
}

// take reports whether one more call may be repeated, and counts it.
func (a *allowance) take(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	calls, _ := a.calls.sum(now)
	repeats, here := a.repeats.sum(now)
	if here >= repeatFloor && (repeats+1)*repeatShare > calls {
		return false
	}
	a.repeats.add(now)
	return true
}

// A window counts what happens, second by second, and forgets what was more than
// windowSeconds ago: above is the second, below how often.
type window [windowSeconds]atomic.Uint64

func secondOf(at time.Time) uint64 { return uint64(at.Unix()) & (1<<32 - 1) } //nolint:gosec // what is cut off comes again in 136 years

func (w *window) add(at time.Time) {
	second := secondOf(at)
	slot := &w[second%windowSeconds]
	for {
		old := slot.Load()
		now := second<<32 | 1
		if old>>32 == second {
			now = old + 1
		}
		if slot.CompareAndSwap(old, now) {
			return
		}
	}
}

// sum is how often within the window, and in its last second.
func (w *window) sum(now time.Time) (all, last uint64) {
	second := secondOf(now)
	for i := range w {
		slot := w[i].Load()
		count := slot & (1<<32 - 1)
		if slot>>32+windowSeconds > second {
			all += count
		}
		if slot>>32 == second {
			last = count
		}
	}
	return all, last
}
