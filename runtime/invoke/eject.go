package invoke

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
)

const (
	// failuresInRow is how many failures in a row have an instance left out, for
	// firstOut, twice as long after each further time, longestOut at most, all
	// varied by a tenth. Each forgiveAfter that it has been back one time is
	// forgotten.
	failuresInRow = 5
	firstOut      = 5 * time.Second
	longestOut    = 5 * time.Minute
	forgiveAfter  = 30 * time.Second
	// One call tries whether an instance does better. If it says nothing within
	// trialPatience, another one may; if it ends and has said nothing, after
	// trialAgain.
	trialPatience = 30 * time.Second
	trialAgain    = time.Second
)

// A verdict is what the end of an attempt says of its instance.
type verdict uint8

const (
	unsaid verdict = iota
	good
	bad    // failuresInRow of them are enough
	silent // no answer, for long or for good: one is enough
	away   // could not be reached, which discovery sees to: bad if it was a trial
)

// A ruling is what comes of a verdict.
type ruling struct {
	out  time.Duration // how long it is left out from now on; 0: it is not
	back bool          // it was left out until now
}

// rule has v count for m, which is called name. The attempt began at began.
func (u *upstream) rule(m *member, name string, began time.Time, v verdict) ruling {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	out := m.out()
	switch {
	case out && !began.After(m.since): // it was under way before
		return ruling{}
	case v == good:
		m.row = 0
		m.well.Store(true)
		if !out {
			return ruling{}
		}
		m.since, m.until, m.back = time.Time{}, time.Time{}, now
		u.first.Store(nil)
		return ruling{back: true}
	case v == unsaid || v == away && !out:
		if out && m.trying {
			m.trying, m.until = false, now.Add(trialAgain)
			u.first.Store(nil)
		}
		return ruling{}
	}
	m.row = min(m.row+1, failuresInRow)
	m.well.Store(false)
	if !out && v == bad && m.row < failuresInRow || !u.spares(name, v == bad && !out) {
		return ruling{}
	}
	u.first.Store(nil)
	return ruling{out: m.leaveOut(now)}
}

// spares reports whether the app has another instance in the rotation; with
// better, one that does well, or is further away and was never asked: what all
// fail at is not the instance's. Callers hold mu.
func (u *upstream) spares(name string, better bool) bool {
	here, other := false, false
	for i := range u.found {
		if !rotates(&u.found[i]) {
			continue
		}
		n := instanceOf(u.found[i])
		if n == name {
			here = true
			continue
		}
		m := u.members[n]
		other = other || m == nil || !m.out() && (!better || m.well.Load())
	}
	return here && other
}

// rotates reports whether e is one of those that calls go to first.
func rotates(e *discovery.Endpoint) bool {
	return (e.State == discovery.Ready || e.State == "") && len(e.Addrs) > 0
}

// out reports whether the instance is left out, until tried at the earliest.
func (m *member) out() bool { return !m.until.IsZero() }

func (m *member) leaveOut(now time.Time) time.Duration {
	if !m.out() {
		m.times = max(0, m.times-int(now.Sub(m.back)/forgiveAfter))
	}
	d := min(firstOut<<m.times, longestOut)
	if d < longestOut {
		m.times++
	}
	d += time.Duration((rand.Float64()*2 - 1) * 0.1 * float64(d)) //nolint:gosec // jitter, not a secret
	m.since, m.until, m.trying, m.row = now, now.Add(d), false, 0
	return d
}

// trial is a ranking of one instance whose time to be tried has come, for one
// call; nil if there is none. Callers hold mu.
func (u *upstream) trial(all choice, found []discovery.Endpoint, now time.Time) *ranking {
	for i := range all.from {
		m := u.members[instanceOf(all.from[i])]
		if m == nil || !m.out() || now.Before(m.until) {
			continue
		}
		m.trying, m.until = true, now.Add(trialPatience)
		return &ranking{of: found, choice: choice{from: all.from[i : i+1], only: all.only}, members: []*member{m}, trial: true}
	}
	return nil
}

// renew has those that are left out tried as soon as they are ready if their app
// is being started: it is not the one that failed. Callers hold mu.
func (u *upstream) renew(found []discovery.Endpoint, now time.Time) {
	for i := range found {
		if !found[i].State.Holds() {
			continue
		}
		if m := u.members[instanceOf(found[i])]; m != nil && m.out() {
			m.until = now
		}
	}
}

// out is how many instances are left out.
func (u *upstreams) out() (n int) {
	known := u.known.Load()
	if known == nil {
		return 0
	}
	for _, one := range *known {
		one.mu.Lock()
		for i := range one.found {
			if m := one.members[instanceOf(one.found[i])]; m != nil && m.out() {
				n++
			}
		}
		one.mu.Unlock()
	}
	return n
}

// rule tells the upstream how the present attempt went, and the log what comes
// of it.
func (a *attempts) rule(v verdict, why string) {
	if a.at == nil || (v == good || v == unsaid) && a.at.well.Load() {
		return
	}
	r := a.to.rule(a.at, a.name, a.sent, v)
	switch {
	case r.out > 0:
		a.i.ejections.Add(1)
		a.i.log.Warn("instance left out", "app", a.key.String(), "instance", a.name, "for", short(r.out), "why", why)
	case r.back:
		a.i.log.Info("instance is back", "app", a.key.String(), "instance", a.name)
	}
}

// ruleFailed is the verdict on an attempt without an answer.
func (a *attempts) ruleFailed(ctx context.Context, failed *apperr.Error) {
	up, byPolicy := errors.AsType[timeUp](context.Cause(ctx))
	deadline, _ := ctx.Deadline()
	switch {
	case byPolicy && a.hadMost(up.After):
		v := silent
		if a.at.answers.Load() != a.answers {
			v = bad // it answers others: it may be the call that takes long
		}
		a.rule(v, "no answer within "+up.After.String())
	case errors.Is(ctx.Err(), context.DeadlineExceeded) && a.hadMost(deadline.Sub(a.progress.began)):
		a.rule(bad, "no answer in the caller's time")
	case ctx.Err() != nil:
		a.rule(unsaid, "")
	default:
		a.rule(verdictOf(failed), failed.What)
	}
}

// hadMost reports whether the present attempt had most of the call's time, and
// its app was ready or had it.
func (a *attempts) hadMost(of time.Duration) bool {
	return time.Since(a.sent) >= of/2 && a.progress.current() != held
}

func verdictOf(failed *apperr.Error) verdict {
	if errors.Is(failed, ErrStopping) {
		return unsaid // it is we who do
	}
	switch failed.Reason {
	case apperr.PeerGone:
		if failed.Reached == apperr.ReachedMaybe {
			return silent
		}
		return away
	case apperr.PeerUnreachable:
		if patient, is := errors.AsType[net.Error](failed.Err); is && patient.Timeout() || errors.Is(failed.Err, context.DeadlineExceeded) {
			return silent
		}
		return away
	case apperr.DeadlineExceeded:
		if failed.Reached == apperr.ReachedNo {
			return unsaid // it waited for the app to be ready
		}
		return bad
	case apperr.AppGone, apperr.AppUnreachable, apperr.GRPCAppUnavailable, apperr.ProtocolError:
		return bad
	default:
		return unsaid
	}
}

const grpcUnavailable = "14"

// ruleAnswer is the verdict on an answer whose head is there. It sets late if
// more is to be known at its end.
func (a *attempts) ruleAnswer(answer *Answer) (late bool) {
	if a.at == nil {
		return false
	}
	status, grpc := grpcStatus(answer.Fields)
	switch {
	case answer.Status >= 500:
		a.rule(bad, "answered "+strconv.Itoa(answer.Status))
		return false
	case status != "":
		a.ruleStatus(status)
		return false
	}
	if a.trial {
		a.rule(good, "")
	}
	return grpc || !a.at.well.Load()
}

// ruleStatus is the verdict on a gRPC status, or on the end of an answer that
// has none.
func (a *attempts) ruleStatus(status string) {
	if status == grpcUnavailable {
		a.rule(bad, "answered UNAVAILABLE")
		return
	}
	a.rule(good, "")
}

// grpcStatus is the status among the fields of an answer, and whether they are
// those of a gRPC one.
func grpcStatus(f Fields) (status string, grpc bool) {
	for i := range f {
		switch len(f[i].Name) {
		case len(fieldGRPCStatus):
			if f[i : i+1].Has(fieldGRPCStatus) {
				status = f[i].Value
			}
		case len("Content-Type"):
			grpc = grpc || exchangesGRPC(f[i:i+1])
		}
	}
	return status, grpc
}
