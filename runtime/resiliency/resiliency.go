// Package resiliency gives Dapr's Resiliency resources a meaning: which
// time-out, retries and circuit breaker count for a target, and what they say
// after each attempt. It makes no call itself: whoever makes one asks it.
package resiliency

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/near"
	"github.com/pillion-dev/pillion/runtime/config"
)

// The kinds of a policy, as metrics and messages name them.
const (
	KindTimeout = "timeout"
	KindRetry   = "retry"
	KindBreaker = "circuitbreaker"
)

// An Event is something that a policy did, or was there for.
type Event struct {
	Resource string // the name of the Resiliency
	Kind     string
	Target   string // app_<id>, or <component type>_<name>
	State    string // of a circuit breaker; "" for the others
}

// An Observer is told what policies do. Its functions must not block; a nil one
// is not called.
type Observer struct {
	// Applied is told of each call that a policy is for, Activated of each time
	// one does something.
	Applied, Activated func(Event)
	// Logger gets Dapr's lines. Nil discards.
	Logger *slog.Logger
}

func (o *Observer) applied(e Event) {
	if o.Applied != nil {
		o.Applied(e)
	}
}

func (o *Observer) activated(e Event) {
	if o.Activated != nil {
		o.Activated(e)
	}
}

// A Set is what all resources say together. The nil Set has no policy. It is
// safe for concurrent use.
type Set struct {
	observer   *Observer
	apps       map[string]*Policy
	components map[string]*Policy
	named      *named
	breakers   map[string]*breakers // all in use, by target and what they say
	anyApp     *Policy              // of an app that is no target; nil for none
}

// A Timeout is how long an attempt may take.
type Timeout struct {
	After    time.Duration
	Name, At string
	resource string
}

// A Policy is what counts for one target: each part may be missing.
type Policy struct {
	observer *Observer
	timeout  *Timeout
	retry    *retry
	breakers *breakers
	// peersOnly has the retries count only for peers that could not be reached.
	peersOnly bool
}

// Timeout is the policy's time-out; nil for none.
func (p *Policy) Timeout() *Timeout { return p.timeout }

// Retries reports whether the policy says what is repeated, be it nothing.
func (p *Policy) Retries() bool { return p.retry != nil }

// Breaker names the policy's circuit breaker, and where it stands; "" for none.
func (p *Policy) Breaker() string {
	if p.breakers == nil {
		return ""
	}
	return fmt.Sprintf("the circuit breaker %q of %s", p.breakers.policy.name, p.breakers.policy.at)
}

// Compile makes a Set of resources, in their order: where two give a policy or a
// target the same name, the later counts. What cannot be used is left out, and
// said among the doubts. Circuit breakers that are the same in before, which may
// be nil, keep their state.
func Compile(resources []config.Resiliency, observer Observer, before *Set) (*Set, []string) {
	if observer.Logger == nil {
		observer.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Set{
		observer: &observer, apps: map[string]*Policy{}, components: map[string]*Policy{},
		breakers: map[string]*breakers{}, named: newNamed(),
	}
	old := map[string]*breakers{}
	if before != nil {
		old = before.breakers
	}
	var doubts []string
	for _, r := range resources {
		doubts = append(doubts, s.named.read(r)...)
	}
	for _, r := range resources {
		for _, id := range slices.Sorted(maps.Keys(r.Targets.Apps)) {
			t := r.Targets.Apps[id]
			p, said := s.policy("app "+id, t, old)
			if p.retry == nil {
				p.builtIn(s.named)
			}
			s.apps[id] = p.orNil()
			doubts = append(doubts, said...)
		}
		for _, name := range slices.Sorted(maps.Keys(r.Targets.Components)) {
			c := r.Targets.Components[name]
			p, said := s.policy("component "+name, c.Outbound, old)
			s.components[name] = p.orNil()
			doubts = append(doubts, said...)
			if c.Inbound.Timeout+c.Inbound.Retry+c.Inbound.CircuitBreaker != "" {
				doubts = append(doubts, c.Inbound.At+": the inbound policies of component "+name+
					" have no effect: no component that calls an app is carried here")
			}
		}
	}
	others, said := s.policy("any app", s.named.defaults("DefaultApp", "Default"), old)
	others.builtIn(s.named)
	s.anyApp = others.orNil()
	return s, append(doubts, said...)
}

// builtIn takes the retries that replace those which Dapr makes by itself for
// peers that cannot be reached.
func (p *Policy) builtIn(n *named) {
	if r, there := n.retries[builtInRetries]; there && p.retry == nil {
		p.retry, p.peersOnly = r, true
	}
}

const builtInRetries = "DaprBuiltInServiceRetries"

func (p *Policy) orNil() *Policy {
	if p.timeout == nil && p.retry == nil && p.breakers == nil {
		return nil
	}
	return p
}

// policy is what the names of a target stand for. Names that stand for nothing
// are doubts.
func (s *Set) policy(what string, t config.TargetPolicies, old map[string]*breakers) (*Policy, []string) {
	p := &Policy{observer: s.observer}
	var doubts []string
	unknown := func(kind, name string, all []string) {
		if name == "" || s.named.refused[kind+" "+name] {
			return // that it cannot be used has been said
		}
		said := fmt.Sprintf("%s: %s has no %s %q: none is called so", t.At, what, kind, name)
		slices.Sort(all)
		if other := near.Match(name, all); other != "" {
			said += ", did you mean " + other + "?"
		}
		doubts = append(doubts, said)
	}
	var there bool
	if p.timeout, there = s.named.timeouts[t.Timeout]; !there {
		unknown("timeout", t.Timeout, slices.Collect(maps.Keys(s.named.timeouts)))
	}
	if p.retry, there = s.named.retries[t.Retry]; !there {
		unknown("retry", t.Retry, slices.Collect(maps.Keys(s.named.retries)))
	}
	breaker, there := s.named.breakers[t.CircuitBreaker]
	if !there {
		unknown("circuitBreaker", t.CircuitBreaker, slices.Collect(maps.Keys(s.named.breakers)))
		return p, doubts
	}
	size := cmp.Or(t.CircuitBreakerCacheSize, cacheSize)
	key := fmt.Sprintf("%s|%d|%+v", what, size, breaker.said())
	p.breakers = old[key]
	if p.breakers == nil {
		p.breakers = newBreakers(breaker, size)
	}
	s.breakers[key] = p.breakers
	return p, doubts
}

// App is what counts for calls to the app that is called id; nil for nothing.
func (s *Set) App(id string) *Policy {
	if s == nil {
		return nil
	}
	if p, is := s.apps[id]; is {
		return p
	}
	return s.anyApp
}

// Component is what counts for what a component is asked; nil for nothing. kind
// is its type, such as state.redis.
func (s *Set) Component(name, kind string) *Policy {
	if s == nil {
		return nil
	}
	if p, is := s.components[name]; is {
		return p
	}
	return s.anyComponent(name, kind)
}

// families are how the names of default policies call the types of components.
var families = map[string]string{
	"state": "Statestore", "pubsub": "Pubsub", "bindings": "Binding", "secretstores": "Secretstore",
	"configuration": "Configuration", "lock": "Lock",
}

// anyComponent is what counts for a component that is no target.
func (s *Set) anyComponent(name, kind string) *Policy {
	before, _, _ := strings.Cut(kind, ".")
	prefixes := []string{"DefaultComponentOutbound", "DefaultComponent", "Default"}
	if family := families[before]; family != "" {
		prefixes = append([]string{"Default" + family + "ComponentOutbound", "Default" + family + "Component"}, prefixes...)
	}
	names := s.named.defaults(prefixes...)
	if names == (config.TargetPolicies{}) {
		return nil
	}
	p := &Policy{observer: s.observer, timeout: s.named.timeouts[names.Timeout], retry: s.named.retries[names.Retry]}
	if b := s.named.breakers[names.CircuitBreaker]; b != nil {
		p.breakers = s.named.ofComponent(name, b)
	}
	return p.orNil()
}
