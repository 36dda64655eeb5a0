package invoke

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/tls/identity"
)

const (
	// maxAttempts bounds the attempts of one call, whatever changes meanwhile.
	maxAttempts = 100
	// A call that waits for an app looks again at each change, and without one
	// first after firstLook, then less and less often: a static peer that
	// comes up tells nobody.
	firstLook = 10 * time.Millisecond
	lastLook  = 500 * time.Millisecond
)

// attempts is one call on its way to who takes it. Every attempt but the last
// has provably not reached an app, or does no harm if it has (repeat.go). It
// holds all that a call needs, so that a call costs one allocation here, and it
// outlives Serve with the answer's body.
type attempts struct {
	i        *Invoker
	c        *Call // until Serve returns
	key      discovery.Key
	to       *upstream
	at       *member   // the instance that has the call; nil for none
	name     string    // of the instance that had it last
	sent     time.Time // when it got it
	answers  uint64    // it had given by then
	trial    bool      // the call tries whether the instance does better
	body     replays   // nil without a body
	progress progress

	// asWritten leaves it to a policy what is repeated.
	asWritten bool
	allowance *allowance    // of the app
	repeats   int           // of attempts that may have reached an app
	maybe     *apperr.Error // how the last of them ended; nil for none

	n         int
	avoid     string   // had it in the attempt of a policy before
	tried     []string // since the last wait
	last      *apperr.Error
	giveUp    time.Time // when holding ends; zero before the first wait
	held      time.Duration
	pause     time.Duration
	committed atomic.Bool // the caller has seen a 1xx answer
	handed    atomic.Bool // an app has the call

	// What the caller wants to be told, also by those who are late.
	tellReached func()
	tellInfo    func(int, Fields) error

	call   Call // as the first attempt sends it
	kept   kept
	answer answerBody
	over   atomic.Bool // the answer is closed
}

func newAttempts(i *Invoker, c *Call) *attempts {
	a := &attempts{i: i, c: c, pause: firstLook, tellReached: c.Reached, tellInfo: c.Informational}
	a.progress.began = time.Now()
	return a
}

// run carries the call to an instance of key's app, which is want.
func (a *attempts) run(ctx context.Context, key discovery.Key, want identity.ID) (*Answer, error) {
	a.key = key
	a.keep()
	answer, failed := a.loop(ctx, want)
	if failed == nil {
		return answer, nil
	}
	return nil, a.failed(ctx, failed)
}

// keep makes the call's body one for several attempts.
func (a *attempts) keep() {
	view, kept := a.c.Body.(*replayView)
	switch c := a.c; {
	case c.Body == nil:
	case kept:
		a.body = &again{r: view.r, views: []*replayView{view}}
	case a.kept.keep(c.Body):
		a.body = &a.kept
	default:
		a.body = newReplay(c.Body, c.Length, a.i.replays)
	}
}

// outside gives the call to h, a host outside the mesh, which makes the only
// attempt.
func (a *attempts) outside(ctx context.Context, h Handler) (*Answer, error) {
	a.progress.outside, a.asWritten = true, true
	return a.through(ctx, h)
}

// through gives the call to h, which holds it if it has to be held.
func (a *attempts) through(ctx context.Context, h Handler) (*Answer, error) {
	switch {
	case !a.asWritten && a.c.harmless():
		a.keep()
	case a.c.Body != nil:
		a.body = once{a.c.Body}
	}
	for {
		a.n++
		sent := a.attempt(true)
		a.progress.enter(sending)
		answer, err := h.Serve(ctx, sent)
		if err == nil {
			return a.answered(answer), nil
		}
		failed := apperr.From(err)
		if final := a.again(ctx, failed); final != nil {
			return nil, a.failed(ctx, final)
		}
		if sent.Body != nil {
			_ = sent.Body.Close() // Serve's error is the one to report
		}
		a.progress.enter(waiting)
		if pause(ctx, a.pause) != nil {
			return nil, a.failed(ctx, failed)
		}
		a.pause = min(2*a.pause, lastLook)
	}
}

// failed ends a call that has no answer, and says why.
func (a *attempts) failed(ctx context.Context, failed *apperr.Error) *apperr.Error {
	if a.body != nil {
		_ = a.body.close() // the call's own error is the one to report
	}
	failed = a.worst(a.progress.explain(ctx, a.c, failed))
	if a.n > 1 && failed.Attempts == 0 {
		counted := *failed
		counted.Attempts = a.n
		failed = &counted
	}
	return failed
}

func (a *attempts) loop(ctx context.Context, want identity.ID) (*Answer, *apperr.Error) {
	found := a.i.present(a.key)
	version, looked := uint64(0), false // version is older than found, once looked is true
	for {
		if left := a.rank(found, want); len(left.from) > 0 {
			answer, failed := a.try(ctx, left)
			if failed == nil {
				return answer, nil
			}
			if final := a.final(ctx, failed); final != nil {
				return nil, final
			}
		} else if looked {
			if failed := a.wait(ctx, version, found, left.choice); failed != nil {
				return nil, failed
			}
		}
		var failed *apperr.Error
		version, looked = a.i.resolver.Version(a.key), true
		if found, failed = a.lookup(ctx); failed != nil {
			return nil, failed
		}
	}
}

// final returns nil if there is to be another attempt after one that failed so,
// or why the call fails.
func (a *attempts) final(ctx context.Context, failed *apperr.Error) *apperr.Error {
	a.last = failed
	switch {
	case errors.Is(failed, ErrStopping):
		return failed
	case a.movesOn(failed):
		return nil
	default:
		return a.again(ctx, failed)
	}
}

// rank is what found leaves to choose from. Apps that nobody has found are not
// remembered.
func (a *attempts) rank(found []discovery.Endpoint, want identity.ID) *ranking {
	if len(found) == 0 {
		return &noInstances
	}
	if a.to == nil {
		a.to = a.i.upstreams.of(a.key, want)
	}
	if a.avoid != "" && len(a.tried) == 0 {
		if r := a.to.rank(found, []string{a.avoid}); len(r.from) > 0 && rotates(&r.from[0]) && !r.out {
			r.only = r.only && !slices.ContainsFunc(found, a.avoids) // the ranking is this call's own
			return r
		}
	}
	return a.to.rank(found, a.tried)
}

// avoids reports whether e is the instance to be avoided, and could take the
// call all the same.
func (a *attempts) avoids(e discovery.Endpoint) bool {
	return instanceOf(e) == a.avoid && rotates(&e)
}

// lookup returns the instances known now, and asks for a name nobody has seen.
func (a *attempts) lookup(ctx context.Context) ([]discovery.Endpoint, *apperr.Error) {
	began := a.progress.enter(looking)
	asking := ctx
	if !a.i.resolver.Known(a.key) {
		limited, cancel := context.WithTimeout(ctx, a.i.resolveTimeout)
		defer cancel()
		asking = limited
	}
	found, err := a.i.resolver.Endpoints(asking, a.key)
	if t := a.c.Timing; t != nil {
		t.Resolve += time.Since(a.progress.began) - began
	}
	if ctx.Err() != nil {
		return nil, &apperr.Error{Reason: apperr.Cancelled, What: "the call ended", Reached: apperr.ReachedNo}
	}
	if err == nil || asking.Err() != nil {
		return found, nil
	}
	if known, ok := errors.AsType[*apperr.Error](err); ok {
		return nil, known
	}
	return nil, &apperr.Error{
		Reason: apperr.DiscoveryFailed, What: a.key.App + " could not be looked up", Cause: err.Error(),
		Reached: apperr.ReachedNo, Err: err,
	}
}

// attempt is the call as the next attempt sends it. One that was given up may
// still be held by whoever had it.
func (a *attempts) attempt(only bool) *Call {
	sent := &a.call
	if a.n > 1 {
		sent = new(Call)
	}
	*sent = *a.c
	sent.Attempt, sent.Only = a.n, only
	if a.body != nil {
		sent.Body = a.body.attempt()
	}
	sent.Reached = a.reached
	if a.tellInfo != nil {
		sent.Informational = a.informational
	}
	return sent
}

// try makes one attempt.
func (a *attempts) try(ctx context.Context, left *ranking) (*Answer, *apperr.Error) {
	to, at := left.pick()
	a.at, a.name, a.trial, a.answers = at, instanceOf(*to), left.trial, at.answers.Load()
	a.n++
	sent := a.attempt(left.only)
	looked := a.progress.send(to.State)
	a.sent = a.progress.began.Add(looked)
	if a.n == 1 {
		a.allowance = &a.to.allowance
		a.allowance.calls.add(a.sent)
	}
	if t := a.c.Timing; t != nil {
		t.Source = to.Source
		if a.n == 1 && t.Resolve == 0 {
			t.Resolve = looked
		}
	}
	answer, err := a.i.mesh.Send(ctx, *to, a.to.want, sent)
	if err == nil {
		at.answers.Add(1)
		if a.to.answered(a.progress.began) {
			a.i.resolver.Answered(a.key)
		}
		if answer.Instance == "" {
			answer.Instance = to.Instance
		}
		answer.Endpoint = *to
		return a.answered(answer), nil
	}
	failed := apperr.From(err)
	a.ruleFailed(ctx, failed)
	at.open.Add(-1)
	a.at = nil
	a.tried = append(a.tried, a.name)
	if sent.Body != nil {
		_ = sent.Body.Close() // Send's error is the one to report
	}
	a.i.log.Debug("attempt failed", "app", a.key.String(), "instance", to.Instance,
		"attempt", a.n, "reason", failed.Reason, "reached", failed.Reached.String(), "err", err)
	if failed.Reason == apperr.PeerUnreachable || failed.Reason == apperr.PeerNotTrusted {
		a.i.resolver.Failed(*to)
	}
	return nil, failed
}

// reached notes that an app has the call, and tells the caller once.
func (a *attempts) reached() {
	if a.handed.Swap(true) {
		return
	}
	a.progress.enter(inApp)
	if a.tellReached != nil {
		a.tellReached()
	}
}

// informational passes a 1xx answer on. From the first one the caller has seen
// a part of an answer, so there is no other attempt.
func (a *attempts) informational(status int, fields Fields) error {
	a.committed.Store(true)
	return a.tellInfo(status, cleanTrailers(fields))
}

// answered makes the answer the caller's.
func (a *attempts) answered(answer *Answer) *Answer {
	cleanAnswer(answer)
	if answer.Peer.IsZero() && a.to != nil {
		answer.Peer = a.to.want
	}
	answer.Attempts = a.n
	if a.n > 1 {
		answer.Fields.Add(FieldAttempts, strconv.Itoa(a.n))
	}
	a.answer = answerBody{Body: answer.Body, call: a, timing: a.c.Timing, late: a.ruleAnswer(answer)}
	if a.answer.timing != nil {
		a.answer.began = time.Since(a.progress.began)
	}
	answer.Body = &a.answer
	a.c = nil // its owner's again
	return answer
}

// end lets go of what an answered call holds. Its body may still be read in that
// moment.
func (a *attempts) end() {
	if a.body != nil {
		_ = a.body.close() // the answer is complete or given up
	}
	if a.at != nil {
		a.at.open.Add(-1)
	}
}

// movesOn reports whether another instance, or the same one later, may get the
// call.
func (a *attempts) movesOn(failed *apperr.Error) bool {
	if failed.Reached != apperr.ReachedNo || a.committed.Load() || a.n >= maxAttempts {
		return false
	}
	if a.body != nil && !a.body.possible() {
		return false
	}
	switch failed.Reason {
	case apperr.Refused, apperr.PeerUnreachable, apperr.PeerGone, apperr.PeerNotTrusted, apperr.CertNotValid,
		apperr.HoldExceeded, apperr.AppHasNoPort, apperr.AppUnreachable, apperr.AppUnhealthy, apperr.AppGone,
		apperr.GRPCAppUnavailable,
		apperr.ProtocolError, apperr.Internal:
		return true
	default:
		return false
	}
}

// wait returns nil when it is worth looking again, or why it is not. It is
// called when nothing is left to try.
func (a *attempts) wait(ctx context.Context, version uint64, found []discovery.Endpoint, left choice) *apperr.Error {
	if a.last != nil && !passing(a.last) {
		return a.last
	}
	if left.unhealthy {
		return a.unhealthy()
	}
	if a.last == nil && len(found) == 0 && !a.i.resolver.Known(a.key) {
		return a.notFound()
	}
	now := time.Now()
	if a.giveUp.IsZero() {
		a.giveUp = now.Add(a.i.hold)
	}
	remaining := a.giveUp.Sub(now)
	if remaining <= 0 {
		return a.exhausted(found)
	}
	a.progress.enter(waiting)
	look, cancel := context.WithTimeout(ctx, min(a.pause, remaining))
	defer cancel()
	_, err := a.i.resolver.Changed(look, a.key, version)
	if err == nil {
		// Something changed, but not always this app: a short breath keeps a
		// busy folder from becoming a busy loop.
		_ = pause(look, time.Millisecond) // the time-out of look is no error
	}
	waited := time.Since(now)
	a.held += waited
	if t := a.c.Timing; t != nil {
		t.Held += waited
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return a.exhausted(found) // an app that is not there is no slow app
	}
	if ctx.Err() != nil {
		return &apperr.Error{Reason: apperr.Cancelled, What: "the call ended", Reached: apperr.ReachedNo}
	}
	a.pause = min(2*a.pause, lastLook)
	a.tried = a.tried[:0]
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passing reports whether what failed may be different after a while: the
// callee's own waiting is over with the other reasons, but for an app that went
// away with the call, which may come back.
func passing(failed *apperr.Error) bool {
	switch failed.Reason {
	case apperr.Refused, apperr.PeerUnreachable, apperr.PeerGone:
		return true
	default:
		return failed.Reached == apperr.ReachedMaybe
	}
}
