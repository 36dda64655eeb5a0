package app

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A Relay hands calls to one App at a time: to the one it was made with, and
// to another from Switch on. Calls that the first one has stay there. It is an
// invoke.Handler, safe for concurrent use.
type Relay struct{ now atomic.Pointer[App] }

var _ invoke.Handler = (*Relay)(nil)

// NewRelay makes a relay to a.
func NewRelay(a *App) *Relay {
	r := new(Relay)
	r.now.Store(a)
	return r
}

// Current is the App that gets the calls now.
func (r *Relay) Current() *App { return r.now.Load() }

// Switch gives all later calls to a. The App before may be drained then: it
// gets no call any more that it would have to refuse.
func (r *Relay) Switch(a *App) { r.now.Store(a) }

// Serve is App.Serve of the one that gets the calls now. A call that has waited
// for one that is drained meanwhile, because another has taken over, goes to that.
func (r *Relay) Serve(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
	for {
		a := r.now.Load()
		h := a.newHandover(c)
		ans, err := a.begin(ctx, h)
		if err == nil {
			return ans, nil
		}
		if errors.Is(err, errDrained) && !h.seen && r.now.Load() != a {
			continue
		}
		return nil, a.failed(ctx, h, err)
	}
}

// Serve hands c to the app and returns its answer as soon as its head is
// there. It waits while the app cannot take the call, within the limits; an
// app that is not the caller's only choice is not waited for.
func (a *App) Serve(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
	h := a.newHandover(c)
	ans, err := a.begin(ctx, h)
	if err != nil {
		return nil, a.failed(ctx, h, err)
	}
	return ans, nil
}

func (a *App) newHandover(c *invoke.Call) *handover {
	return &handover{app: a, call: c, token: a.cfg.Token, began: time.Now()}
}

// begin is Serve, but that a failed call is as it was, for another app.
func (a *App) begin(ctx context.Context, h *handover) (*invoke.Answer, error) {
	through, err := a.gate.begin()
	if err != nil {
		return nil, err
	}
	a.open.Add(1)
	ans, err := a.carry(ctx, h, through)
	a.gate.answered()
	if err != nil {
		a.open.Add(-1)
	}
	return ans, err
}

// failed ends a call's body and says why it failed.
func (a *App) failed(ctx context.Context, h *handover, err error) error {
	a.crew.closeBody(h.call)
	return a.explain(ctx, h, err)
}
