package resiliency

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

var errFailed = errors.New("failed")

// An Outcome is how an attempt ended.
type Outcome struct {
	// Failed is true if it counts as a failure.
	Failed bool
	// Ignored is true if it says nothing about the target, such as when the
	// caller has gone: the circuit breaker does not count it.
	Ignored bool
	// Final is true if there cannot be another attempt.
	Final bool
	// Peer is true if the target's sidecar could not be reached.
	Peer bool
	// HTTP or GRPC is the status of the target's answer, for retries that match
	// some only; Answered is 0 for no answer.
	Answered Protocol
	Status   int
}

// A Protocol says which table a status is of.
type Protocol uint8

// The protocols of an answer.
const (
	NoAnswer Protocol = iota
	HTTP
	GRPC
)

// A Run is one call under a policy: Begin, the attempt, End, and Wait before the
// next one as long as End says so. It belongs to one goroutine.
type Run struct {
	p         *Policy
	operation string
	target    string
	circuit   *circuit
	done      func(error)
	pauses    backoff.BackOff
	pause     time.Duration
	began     time.Time
	n         int
}

// ForApp begins a call of a method of the app that is called id.
func (p *Policy) ForApp(id, method string) *Run {
	key := id + ":" + method
	return p.run(key, "endpoint["+id+", "+key+"]", "app_"+id)
}

// ForComponent begins a call of a component. kind is its type.
func (p *Policy) ForComponent(name, kind string) *Run {
	return p.run(name, "component["+name+"] output", kind+"_"+name)
}

func (p *Policy) run(key, operation, target string) *Run {
	r := &Run{p: p, operation: operation, target: target, began: time.Now()}
	if p.breakers != nil {
		r.circuit = p.breakers.of(key, p.observer.breakerChanged(p.breakers.policy.resource, target))
		r.tell(p.observer.applied, KindBreaker, p.breakers.policy.resource)
	}
	if p.timeout != nil {
		r.tell(p.observer.applied, KindTimeout, p.timeout.resource)
	}
	if p.retry != nil {
		r.tell(p.observer.applied, KindRetry, p.retry.resource)
	}
	return r
}

func (r *Run) tell(whom func(Event), kind, resource string) {
	e := Event{Resource: resource, Kind: kind, Target: r.target}
	if kind == KindBreaker {
		e.State = r.circuit.gate.State().String()
	}
	whom(e)
}

// breakerChanged tells of a circuit breaker's new state.
func (o *Observer) breakerChanged(resource, target string) func(name, from, to string) {
	return func(name, from, to string) {
		o.Logger.Info(fmt.Sprintf("Circuit breaker %q changed state from %s to %s", name, from, to)) //nolint:sloglint // Dapr's words
		o.activated(Event{Resource: resource, Kind: KindBreaker, Target: target, State: to})
	}
}

// Begin lets the next attempt begin, or says why it must not: ErrOpen, or
// ErrTooMany. After nil, End must be called.
func (r *Run) Begin() error {
	r.done = nil
	if r.circuit != nil {
		done, err := r.circuit.allow()
		if err != nil {
			return err
		}
		r.done = done
	}
	r.n++
	return nil
}

// TimedOut notes that the attempt was ended by the policy's time-out.
func (r *Run) TimedOut() { r.tell(r.p.observer.activated, KindTimeout, r.p.timeout.resource) }

// End notes how the attempt ended, and reports whether there is to be another.
func (r *Run) End(o Outcome) (again bool) {
	if r.done != nil {
		switch {
		case o.Ignored:
			r.done(errIgnored)
		case o.Failed:
			r.done(errFailed)
		default:
			r.done(nil)
		}
	}
	if !o.Failed {
		if r.n > 1 {
			r.p.observer.Logger.Info(fmt.Sprintf("Recovered processing operation %s after %d attempts", r.operation, r.n)) //nolint:sloglint // Dapr's words
		}
		return false
	}
	return !o.Final && !o.Ignored && r.next(o)
}

// next reports whether the policy repeats what ended so, and when.
func (r *Run) next(o Outcome) bool {
	policy := r.p.retry
	switch {
	case policy == nil || policy.max >= 0 && r.n > policy.max:
		return false
	case r.p.peersOnly && !o.Peer:
		return false
	case o.Answered == HTTP && !policy.http.has(o.Status), o.Answered == GRPC && !policy.grpc.has(o.Status):
		return false
	case policy.exponential && time.Since(r.began) > retryMaxElapsed:
		return false
	}
	if r.pauses == nil {
		r.pauses = policy.pauses()
	}
	r.pause = r.pauses.NextBackOff()
	if r.n == 1 {
		r.p.observer.Logger.Warn(fmt.Sprintf("Error processing operation %s. Retrying in %v…", r.operation, r.pause)) //nolint:sloglint // Dapr's words
	}
	r.tell(r.p.observer.activated, KindRetry, policy.resource)
	return true
}

func (p *retry) pauses() backoff.BackOff {
	if !p.exponential {
		return backoff.NewConstantBackOff(p.duration)
	}
	return &backoff.ExponentialBackOff{
		InitialInterval: min(retryInitial, p.maxInterval), MaxInterval: p.maxInterval,
		Multiplier: retryMultiplier, RandomizationFactor: retryJitter,
	}
}

// Wait waits until the next attempt is due, or ctx ends.
func (r *Run) Wait(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.pause <= 0 {
		return nil
	}
	timer := time.NewTimer(r.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Do carries out an operation under the policy. fails says which errors are
// failures; others are what the operation has to say.
func (r *Run) Do(ctx context.Context, do func(context.Context) error, fails func(error) bool) error {
	for {
		if err := r.Begin(); err != nil {
			return err
		}
		err := r.once(ctx, do)
		failed := err != nil && fails(err)
		gone := failed && ctx.Err() != nil
		if !r.End(Outcome{Failed: failed, Ignored: gone, Final: gone}) {
			return err
		}
		if waited := r.Wait(ctx); waited != nil {
			return err
		}
	}
}

func (r *Run) once(ctx context.Context, do func(context.Context) error) error {
	t := r.p.timeout
	if t == nil {
		return do(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, t.After)
	defer cancel()
	err := do(limited)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		r.TimedOut()
		return fmt.Errorf("context deadline exceeded after %v (%s): %w", t.After, t, err)
	}
	return err
}

// String names the time-out, and where it stands.
func (t *Timeout) String() string { return fmt.Sprintf("the time-out %q of %s", t.Name, t.At) }
