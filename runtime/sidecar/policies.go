package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/near"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/resiliency"
	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/telemetry"
)

// judgePolicies gives the resiliencies their meaning. What is wrong with one is
// a doubt, as Dapr has it: the rest counts.
func (s *sidecar) judgePolicies(r *resources) {
	var before *resiliency.Set
	if old := s.resources.current(); old != nil {
		before = old.policies
	}
	var doubts []string
	r.policies, doubts = resiliency.Compile(r.Resiliencies, resiliency.Observer{
		Applied:   func(e resiliency.Event) { s.metrics.PolicyApplied(counted(e)) },
		Activated: func(e resiliency.Event) { s.metrics.PolicyActivated(counted(e)) },
		Logger:    s.log,
	}, before)
	r.targets = newPolicyTargets(r.Resiliencies)
	for _, doubt := range append(doubts, r.strangers()...) {
		r.doubt(doubt)
	}
}

// strangers are the targets of policies that look like the name of a component
// and are none. (One that does not may be another app's; an app may come later.)
func (r *resources) strangers() (doubts []string) {
	names := []string{builtInStore}
	for _, c := range r.Components {
		names = append(names, c.Name)
	}
	for _, policies := range r.Resiliencies {
		for _, name := range slices.Sorted(maps.Keys(policies.Targets.Components)) {
			other := near.Match(name, names)
			if other != "" && !slices.Contains(names, name) {
				doubts = append(doubts, fmt.Sprintf("%s: the policies of component %s have no effect: this app has none called so, did you mean %s?",
					policies.Targets.Components[name].Outbound.At, name, other))
			}
		}
	}
	return doubts
}

// counted is an event as metrics have it.
func counted(e resiliency.Event) telemetry.Policy {
	return telemetry.Policy{Name: e.Resource, Kind: e.Kind, Target: e.Target, Status: e.State}
}

// policyOf is what counts for calls of an app, or of another target.
func (s *sidecar) policyOf(target string) *resiliency.Policy {
	told := s.resources.current()
	if told.targets.isNew(target) {
		s.doubtTargets(told, target)
	}
	return told.policies.App(target)
}

// doubtTargets warns of policies whose target is called as nobody is, if an app
// that is called has nearly that name, and no policies.
func (s *sidecar) doubtTargets(told *resources, called string) {
	other := near.Match(called, slices.Sorted(maps.Keys(told.targets.at)))
	if other == "" || told.targets.at[called] != "" {
		return
	}
	app, namespace, said := strings.Cut(other, ".")
	if !said {
		namespace = s.cfg.Namespace
	}
	if s.net.resolver.Known(discovery.Key{Namespace: namespace, App: app}) {
		return
	}
	s.say(Notice{
		Kind: Warning, Text: told.targets.at[other] + ": the policies of app " + other + " are nobody's: no app is known by that name",
		Cause: called + " is called, and has none", Hint: "did you mean " + called + "?",
	})
}

// maxCalled bounds the targets that are remembered to have been called.
const maxCalled = 1000

// policyTargets are the apps that policies are for, and which targets have been
// called since they were read.
type policyTargets struct {
	at map[string]string // where they stand, by name

	mu     sync.Mutex // held by who replaces called
	called atomic.Pointer[map[string]bool]
}

// newPolicyTargets are those of the resiliencies.
func newPolicyTargets(all []config.Resiliency) *policyTargets {
	t := &policyTargets{at: map[string]string{}}
	for _, r := range all {
		for name, policies := range r.Targets.Apps {
			t.at[name] = policies.At
		}
	}
	return t
}

// isNew reports whether the target is called for the first time. It costs
// nothing where no policy names an app.
func (t *policyTargets) isNew(target string) bool {
	if len(t.at) == 0 {
		return false
	}
	called := t.called.Load()
	if called != nil && (*called)[target] {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	next := map[string]bool{target: true}
	if called = t.called.Load(); called != nil {
		if (*called)[target] || len(*called) >= maxCalled {
			return false
		}
		maps.Copy(next, *called)
	}
	t.called.Store(&next)
	return true
}

// countPolicies counts the resiliencies in force, now and when they change.
func (s *sidecar) countPolicies() {
	for _, r := range s.resources.current().Resiliencies {
		s.metrics.PoliciesLoaded(r.Name)
	}
	s.resources.onChange(func(old, now *resources) {
		before := resiliencies(old)
		for _, r := range now.Resiliencies {
			if !reflect.DeepEqual(before[r.Name], any(elsewhere(r))) {
				s.metrics.PoliciesLoaded(r.Name)
			}
		}
	})
}

// aroundState puts the policies of a store, and the measuring of what the app
// waits for, around each operation.
func (s *sidecar) aroundState() state.Around {
	return func(ctx context.Context, c state.Call, do func(context.Context) error) error {
		began := time.Now()
		err := s.underPolicy(ctx, c.Store, do)
		s.metrics.StateOperation(c.Store, c.Operation, err == nil, time.Since(began))
		return err
	}
}

func (s *sidecar) underPolicy(ctx context.Context, store string, do func(context.Context) error) error {
	told := s.resources.current()
	if len(told.Resiliencies) == 0 {
		return do(ctx)
	}
	kind := s.storeType(told, store)
	p := told.policies.Component(store, kind)
	if p == nil {
		return do(ctx)
	}
	return p.ForComponent(store, kind).Do(ctx, do, func(err error) bool {
		return !errors.Is(err, state.ErrETagMismatch) && !errors.Is(err, state.ErrETagInvalid)
	})
}

// storeType is the type of a store, the built-in one's if no component says it.
func (s *sidecar) storeType(r *resources, name string) string {
	i := slices.IndexFunc(r.Components, func(c config.Component) bool { return c.Name == name })
	if i < 0 {
		return "state.sqlite"
	}
	return r.Components[i].Type
}
