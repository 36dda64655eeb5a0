package invoke

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
)

// A stretch is a part of a call's way that time can be lost in.
type stretch int

const (
	looking stretch = iota // for the app's instances
	waiting                // for a known app to come
	sending                // to an instance that has not handed the call on
	held                   // by an instance whose app is not ready
	inApp                  // from the first byte written to the app
	stretches
)

// progress is how far a call has come and where its time went, so that a
// time-out can say it.
type progress struct {
	began time.Time
	// outside is true if the call is for a host outside the mesh.
	outside bool

	mu    sync.Mutex // guards what follows
	now   stretch
	since time.Duration // since began
	spent [stretches]time.Duration
}

// enter begins a stretch and returns how long the call has taken until then.
func (p *progress) enter(s stretch) time.Duration {
	at := time.Since(p.began)
	p.mu.Lock()
	p.spent[p.now] += at - p.since
	p.now, p.since = s, at
	p.mu.Unlock()
	return at
}

// send begins the way to an instance in that state.
func (p *progress) send(state discovery.State) time.Duration {
	switch state {
	case discovery.Starting, discovery.Restarting:
		return p.enter(held)
	default:
		return p.enter(sending)
	}
}

// longest is the stretch that took most, and the one the call is in.
func (p *progress) longest() (most, present stretch, took time.Duration) {
	p.enter(p.current())
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range stretches {
		if p.spent[s] > took {
			most, took = s, p.spent[s]
		}
	}
	return most, p.now, took
}

// counted is the time the call has taken, but for that which an app took to come
// or to get ready.
func (p *progress) counted() time.Duration {
	at := time.Since(p.began)
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := p.spent[waiting] + p.spent[held]
	if p.now == waiting || p.now == held {
		idle += at - p.since
	}
	return at - idle
}

func (p *progress) current() stretch {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// where names a stretch in the sentence "4.9s of it …", and its hop.
func (p *progress) where(s stretch) (words string, hop apperr.Hop) {
	switch {
	case s == looking:
		return "looking for the app", apperr.HopDiscovery
	case s == waiting:
		return "waiting for the app to come", apperr.HopDiscovery
	case s == sending && p.outside:
		return "before the host had it", apperr.HopNetwork
	case s == sending:
		return "before the app had it", apperr.HopPeer
	case s == held:
		return "waiting for the app to be ready", apperr.HopPeer
	case p.outside:
		return "at the host", apperr.HopPeer
	default:
		return "in the app", apperr.HopApp
	}
}

// explain replaces the error of a call whose time was up, or whose caller went
// away, by one that says so. Other errors come back as they are, and so does
// that nobody came for whom the call was kept until its time was up. That ctx
// was cancelled says nothing alone: a door that was told to stop reading a
// failed call's body takes it for a caller that has left.
func (p *progress) explain(ctx context.Context, c *Call, err *apperr.Error) *apperr.Error {
	up, byPolicy := errors.AsType[timeUp](context.Cause(ctx))
	late := byPolicy || errors.Is(ctx.Err(), context.DeadlineExceeded)
	if !late && err.Reason != apperr.DeadlineExceeded && err.Reason != apperr.Cancelled {
		return err
	}
	if err.Reason == apperr.AppNotFound {
		return err
	}
	most, present, took := p.longest()
	reached := apperr.ReachedMaybe
	if present == looking || present == waiting || err.Reached == apperr.ReachedNo {
		reached = apperr.ReachedNo
	}
	if err.Reason == apperr.Cancelled && !late {
		return &apperr.Error{
			Reason: apperr.Cancelled, What: "the call was given up by its caller", Dapr: "context canceled",
			Reached: reached, Instance: err.Instance, Err: errors.Join(callctx.Cause(ctx), err),
		}
	}
	total := time.Since(p.began)
	if deadline, ok := ctx.Deadline(); ok {
		total = deadline.Sub(p.began)
	}
	if byPolicy {
		total = up.After
	}
	if most == sending && err.At() == apperr.HopApp && err.Reached == apperr.ReachedMaybe && err.Reason == apperr.DeadlineExceeded {
		most = inApp // the callee's sidecar knows better
	}
	words, hop := p.where(most)
	spent := fmt.Sprintf("%s of it %s", short(min(took, total)), words)
	if byPolicy {
		spent += ", by " + up.String()
	}
	return &apperr.Error{
		Reason:  apperr.DeadlineExceeded,
		What:    c.Target.name() + " did not answer within " + short(total),
		Dapr:    "DEADLINE_EXCEEDED: context deadline exceeded after " + short(total) + ", " + spent,
		Cause:   spent,
		Hop:     hop,
		Reached: reached, Instance: err.Instance, Err: err,
	}
}

// short is d with two digits or so: 4.9s, 250ms, 90µs.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 100*time.Millisecond:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(10 * time.Microsecond).String()
	}
}
