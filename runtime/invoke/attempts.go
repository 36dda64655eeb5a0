package invoke

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	// namesShown bounds the apps listed in "running here are".
	namesShown = 8
)

// attempts is one call on its way to an instance that takes it. Every attempt
// but the last has provably not reached an app.
type attempts struct {
	i        *Invoker
	c        *Call
	key      discovery.Key
	want     identity.ID
	body     *replay // nil without a body
	progress *progress

	n         int
	tried     []string // since the last wait
	last      *apperr.Error
	committed atomic.Bool // the caller has seen a 1xx answer
	giveUp    time.Time   // when holding ends; zero before the first wait
	held      time.Duration
	pause     time.Duration
}

func newAttempts(i *Invoker, c *Call, key discovery.Key) *attempts {
	a := &attempts{i: i, c: c, key: key, progress: newProgress(), pause: firstLook}
	if c.Body != nil {
		a.body = newReplay(c.Body, c.Length, i.replays)
	}
	return a
}

func (a *attempts) run(ctx context.Context) (*Answer, error) {
	want, err := identity.New(a.i.self.TrustDomain(), a.key.Namespace, a.key.App)
	if err != nil {
		return nil, invalidTarget(a.c.Target.Given, "an app id is "+identity.Rule)
	}
	a.want = want
	answer, failed := a.loop(ctx)
	if failed == nil {
		return answer, nil
	}
	if a.body != nil {
		_ = a.body.close() // the call's own error is the one to report
	}
	failed = a.progress.explain(ctx, a.c, failed)
	if a.n > 1 && failed.Attempts == 0 {
		counted := *failed
		counted.Attempts = a.n
		failed = &counted
	}
	return nil, failed
}

func (a *attempts) loop(ctx context.Context) (*Answer, *apperr.Error) {
	for {
		version := a.i.resolver.Version(a.key)
		found, failed := a.lookup(ctx)
		if failed != nil {
			return nil, failed
		}
		left := choose(found, a.tried)
		if len(left.from) == 0 {
			if failed := a.wait(ctx, version, found, left); failed != nil {
				return nil, failed
			}
			continue
		}
		answer, failed := a.try(ctx, left)
		if failed == nil {
			return answer, nil
		}
		a.last = failed
		if !a.movesOn(failed) {
			return nil, failed
		}
	}
}

// lookup returns the instances known now, and asks for a name nobody has seen.
func (a *attempts) lookup(ctx context.Context) ([]discovery.Endpoint, *apperr.Error) {
	a.progress.enter(looking)
	began := time.Now()
	asking := ctx
	if !a.i.resolver.Known(a.key) {
		limited, cancel := context.WithTimeout(ctx, a.i.resolveTimeout)
		defer cancel()
		asking = limited
	}
	found, err := a.i.resolver.Endpoints(asking, a.key)
	a.c.Timing.Resolve += time.Since(began)
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

// try makes one attempt.
func (a *attempts) try(ctx context.Context, left choice) (*Answer, *apperr.Error) {
	to, release := a.i.balance.acquire(left.from)
	a.n++
	a.tried = append(a.tried, instanceOf(to))
	a.c.Timing.Source = to.Source
	attempt := *a.c
	attempt.Attempt, attempt.Only = a.n, left.only
	if a.body != nil {
		attempt.Body = a.body.attempt()
	}
	if a.c.Informational != nil {
		attempt.Informational = a.informational
	}
	a.progress.watch(&attempt, a.c, to.State)
	answer, err := a.i.mesh.Send(ctx, to, a.want, &attempt)
	if err == nil {
		a.i.resolver.Answered(a.key)
		return a.answered(answer, to, release), nil
	}
	release()
	failed := apperr.From(err)
	if attempt.Body != nil {
		_ = attempt.Body.Close() // Send's error is the one to report
	}
	a.i.log.Debug("attempt failed", "app", a.key.String(), "instance", to.Instance,
		"attempt", a.n, "reason", failed.Reason, "reached", failed.Reached.String(), "err", err)
	if failed.Reason == apperr.PeerUnreachable || failed.Reason == apperr.PeerNotTrusted {
		a.i.resolver.Failed(to)
	}
	return nil, failed
}

// informational passes a 1xx answer on. From the first one the caller has seen
// a part of an answer, so there is no other attempt.
func (a *attempts) informational(status int, fields Fields) error {
	a.committed.Store(true)
	return a.c.Informational(status, cleanTrailers(fields))
}

// answered makes the answer the caller's.
func (a *attempts) answered(answer *Answer, to discovery.Endpoint, release func()) *Answer {
	cleanAnswer(answer)
	if answer.Instance == "" {
		answer.Instance = to.Instance
	}
	if answer.Peer.IsZero() {
		answer.Peer = a.want
	}
	answer.Endpoint, answer.Attempts = to, a.n
	answer.Body = &answerBody{Body: answer.Body, timing: a.c.Timing, began: time.Now(), end: func() {
		if a.body != nil {
			_ = a.body.close() // the answer is complete or given up
		}
		release()
	}}
	return answer
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
	a.c.Timing.Held += waited
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
// callee's own waiting is over with the other reasons.
func passing(failed *apperr.Error) bool {
	switch failed.Reason {
	case apperr.Refused, apperr.PeerUnreachable, apperr.PeerGone:
		return true
	default:
		return false
	}
}

// exhausted is the error of a call that was held as long as it may be.
func (a *attempts) exhausted(found []discovery.Endpoint) *apperr.Error {
	if a.last == nil || len(found) == 0 {
		return a.notFound()
	}
	return a.last
}

func (a *attempts) unhealthy() *apperr.Error {
	return &apperr.Error{
		Reason:  apperr.AppUnhealthy,
		What:    a.key.App + " says it is not healthy",
		Dapr:    "rpc error: code = Internal desc = app is not in a healthy state",
		Reached: apperr.ReachedNo,
	}
}

// notFound is Dapr's sentence, with what runs here and what may be meant.
func (a *attempts) notFound() *apperr.Error {
	app := a.c.Target.Given
	if app == "" {
		app = a.key.App
	}
	running, nearest := a.i.resolver.Near(a.key)
	where, here := "on this machine", "here"
	if a.i.lan {
		where, here = "on this machine or its network", "here and on the network"
	}
	e := &apperr.Error{
		Reason:  apperr.AppNotFound,
		What:    fmt.Sprintf("no app %q %s", app, where),
		Dapr:    "couldn't find service: " + app,
		Cause:   fmt.Sprintf("app-id %s not found: %s", app, listRunning(running, a.i.self.App(), here)),
		Hint:    "start it with: pillion run --app-id " + a.key.App + " -- <command>",
		Reached: apperr.ReachedNo,
	}
	if a.last != nil {
		e.Err = a.last
	}
	if a.held > 0 {
		e.Cause += ", after waiting " + short(a.held) + " for it to come"
	}
	if nearest != "" {
		e.Hint = "did you mean " + nearest + "?"
	}
	return e
}

// listRunning is the sentence of what runs, the caller itself first.
func listRunning(names []string, self, here string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if i := slices.Index(names, self); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, self)
	}
	switch {
	case len(names) == 0:
		return "nothing else is running " + here
	case len(names) == 1:
		return "running " + here + " is " + names[0]
	case len(names) > namesShown:
		return fmt.Sprintf("running %s are %s and %d more", here, strings.Join(names[:namesShown], ", "), len(names)-namesShown)
	default:
		return "running " + here + " are " + strings.Join(names, ", ")
	}
}
