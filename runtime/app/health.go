package app

import (
	"context"
	"fmt"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Health says how the app is asked whether it is well. Its zero value is an app
// that is not asked: it is well while its port is open. One that is asked gets
// no call before it has said so once, and none from Threshold failures in a row
// on until it says so again.
type Health struct {
	// Ask returns why the app is not well, or nil. It gets the app's handler that
	// asks for no readiness.
	Ask func(ctx context.Context, app invoke.Handler) error
	// Interval is the time between two questions, Timeout that of an answer.
	Interval, Timeout time.Duration
	// Threshold is how many failures in a row make the app unhealthy.
	Threshold int
}

// Unhealthy says that the app does not say any more that it is well. Why is what
// it last said.
type Unhealthy struct {
	Failures int
	Why      error
}

// Healthy says that it does.
type Healthy struct{}

func (Unhealthy) event() {}
func (Healthy) event()   {}

// unasked is the app without gate and concurrency: what asks for its health must
// reach it in every state.
type unasked struct{ *App }

// Serve implements invoke.Handler.
func (u unasked) Serve(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
	a := u.App
	h := &handover{app: a, call: c, token: a.cfg.Token, began: time.Now(), sent: time.Now()}
	a.slots.force()
	a.open.Add(1)
	ans, err := a.exchange(ctx, h)
	if err != nil {
		h.ended()
		a.crew.closeBody(c)
		return nil, a.explain(ctx, h, err)
	}
	return ans, nil
}

// watchHealth asks for the app's health until ctx ends, while its port is open.
func (a *App) watchHealth(ctx context.Context) {
	if a.cfg.Health.Ask == nil {
		return
	}
	tick := time.NewTicker(a.cfg.Health.Interval)
	defer tick.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.sick: // it has just opened its port
		}
		if p, _ := a.gate.now(); p == ready || p == unwell {
			failures = a.judge(ctx, failures)
		}
	}
}

// judge asks once, after so many failures in a row, and returns how many there
// are now.
func (a *App) judge(ctx context.Context, failures int) int {
	err := a.askHealth(ctx)
	if ctx.Err() != nil {
		return failures
	}
	if err == nil {
		a.well.Store(true)
		if a.gate.move(unwell, ready, nil) {
			a.events.add(Healthy{})
		}
		return 0
	}
	failures++
	if failures == a.cfg.Health.Threshold {
		a.well.Store(false)
		if a.gate.move(ready, unwell, a.errUnwell(err)) {
			a.events.add(Unhealthy{Failures: failures, Why: err})
		}
	}
	return failures
}

func (a *App) askHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Health.Timeout)
	defer cancel()
	return a.cfg.Health.Ask(ctx, unasked{a})
}

// opens is the phase of an app whose port has just opened: whether it is well is
// not known before it has said so.
func (a *App) opens() (phase, *apperr.Error) {
	if a.cfg.Health.Ask == nil || a.well.Load() {
		return ready, nil
	}
	return unwell, a.errUnwell(nil)
}

func (a *App) errUnwell(why error) *apperr.Error {
	e := &apperr.Error{
		Reason: apperr.AppUnhealthy, Reached: apperr.ReachedNo,
		What:  a.cfg.Name + " says it is not healthy",
		Cause: "it has not said yet that it is",
		Dapr:  "app is not in a healthy state",
	}
	if why != nil {
		e.Cause = fmt.Sprintf("%d health checks in a row failed: %v", a.cfg.Health.Threshold, why)
	}
	return e
}
