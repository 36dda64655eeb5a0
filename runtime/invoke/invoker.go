package invoke

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/resiliency"
	"github.com/pillion-dev/pillion/tls/identity"
)

// Defaults of Options.
const (
	DefaultHold           = 10 * time.Second
	DefaultResolveTimeout = time.Second
)

// Options are what an Invoker is made of.
type Options struct {
	// Self is who calls. Required.
	Self identity.ID
	// Resolver finds instances and Mesh reaches them. Required.
	Resolver Resolver
	Mesh     Mesh
	// Local is the own app behind its own rules, as NewCallee makes it, for
	// calls to itself. Nil: there is none, and a call to one's own id goes
	// through the mesh to another instance.
	Local Handler
	// External carries calls out of the mesh. Nil: there are none.
	External External
	// Hold bounds the wait for a known app; default 10s. ResolveTimeout bounds
	// the look-up of a name that is not known; default 1s.
	Hold           time.Duration
	ResolveTimeout time.Duration
	// LAN is true if other machines are asked too; it changes words only.
	LAN bool
	// HostAddr and HostName are what the forwarded fields say of this machine.
	// Empty: 127.0.0.1 and localhost.
	HostAddr netip.Addr
	HostName string
	// Stages stand between the check of the target and the attempts, the first
	// outermost. They see each call once, whatever is repeated behind them.
	Stages []Stage
	// Policies is what counts for a target, by the name that the caller gave it;
	// nil for nothing, and without any.
	Policies func(target string) *resiliency.Policy
	// Taps are the readers of the calls that the own app makes. Nil: there can
	// be none.
	Taps *Taps
	// Logger gets a debug line for each attempt that failed, and says which
	// instances are left out. Nil discards.
	Logger *slog.Logger
}

// An Invoker is the caller's side of service invocation: it finds the app,
// picks an instance, and moves on from those that provably did not take the
// call, or took one that may be carried out twice. It is a Handler and safe for concurrent use.
type Invoker struct {
	self           identity.ID
	resolver       Resolver
	mesh           Mesh
	local          Handler
	external       External
	present        func(discovery.Key) []discovery.Endpoint
	hold           time.Duration
	resolveTimeout time.Duration
	lan            bool
	origin         origin
	log            *slog.Logger
	upstreams      upstreams
	replays        *budget
	policies       func(string) *resiliency.Policy
	chain          Handler
	own            allowance // of the own app

	repeated, refused, ejections atomic.Uint64
}

// New makes an Invoker. It starts nothing.
func New(o Options) *Invoker {
	i := &Invoker{
		self: o.Self, resolver: o.Resolver, mesh: o.Mesh, local: o.Local, external: o.External,
		hold: o.Hold, resolveTimeout: o.ResolveTimeout, lan: o.LAN,
		log: o.Logger, replays: newBudget(replayBudget), policies: o.Policies,
	}
	if i.hold <= 0 {
		i.hold = DefaultHold
	}
	if i.resolveTimeout <= 0 {
		i.resolveTimeout = DefaultResolveTimeout
	}
	if i.log == nil {
		i.log = slog.New(slog.DiscardHandler)
	}
	if o.HostName == "" {
		o.HostName = "localhost"
	}
	i.origin = newOrigin(o.HostAddr, o.HostName)
	i.present = presentOf(o.Resolver)
	stages := append([]Stage{TapStage(AtCaller, o.Taps), i.target}, o.Stages...)
	i.chain = Chain(HandlerFunc(i.dispatch), stages...)
	return i
}

// Counts are how often something has happened.
type Counts struct {
	// Repeats are attempts that may have reached an app and were made again
	// without a policy; RepeatsRefused are those that were not, because too many
	// had been.
	Repeats, RepeatsRefused uint64
	// Ejections are how often an instance was left out because it failed; Out is
	// how many are now, of those that are there.
	Ejections uint64
	Out       int
}

// Counts is what has happened until now.
func (i *Invoker) Counts() Counts {
	return Counts{
		Repeats: i.repeated.Load(), RepeatsRefused: i.refused.Load(),
		Ejections: i.ejections.Load(), Out: i.upstreams.out(),
	}
}

// Serve carries out c. It waits for an app that is known, at most as long as
// Options.Hold, and never longer than ctx lets it. Its errors are
// *apperr.Error and say whether an app may have seen the call.
func (i *Invoker) Serve(ctx context.Context, c *Call) (*Answer, error) {
	answer, err := i.chain.Serve(ctx, c)
	if err != nil {
		closeBody(c)
		return nil, apperr.From(err)
	}
	return answer, nil
}

func closeBody(c *Call) {
	if c.Body != nil {
		_ = c.Body.Close() // the call's own error is the one to report
	}
}

// presentOf is what r knows without waiting or asking.
func presentOf(r Resolver) func(discovery.Key) []discovery.Endpoint {
	if fast, ok := r.(Presenter); ok {
		return fast.Present
	}
	return func(discovery.Key) []discovery.Endpoint { return nil }
}

// target is the stage that decides whether the call may be made at all, and
// writes the fields that say who makes it.
func (i *Invoker) target(next Handler) Handler {
	return HandlerFunc(func(ctx context.Context, c *Call) (*Answer, error) {
		if c.Verb == "CONNECT" {
			return nil, methodRefused(c.Verb)
		}
		outside := i.outside(c)
		if !outside {
			if err := i.inside(c); err != nil {
				return nil, err
			}
		}
		c.Caller = i.self
		c.Fields.strip(oneHop | reserved | claimed)
		if !outside {
			identify(&c.Fields, i.self, c.Target.App)
			i.origin.extend(&c.Fields)
		}
		guard(c)
		return next.Serve(ctx, c)
	})
}

// outside reports whether c leaves the mesh.
func (i *Invoker) outside(c *Call) bool {
	return c.Target.URL != "" || i.external != nil && i.external.Knows(c.Target.Given)
}

// inside returns why c may not go to an app of the mesh, or nil.
func (i *Invoker) inside(c *Call) error {
	if c.Target.App == "" {
		return TargetMissing()
	}
	key := c.Target.Key(i.self.Namespace())
	if _, err := i.self.Sibling(key.Namespace, key.App); err != nil {
		return invalidTarget(c.Target.Given, "an app id is "+identity.Rule)
	}
	return nil // whether a call may cross namespaces is the callee's to say
}

func methodRefused(verb string) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.MethodRefused, What: "the method " + verb + " cannot be sent to an app",
		Dapr: "invalid HTTP verb", Cause: verb + " opens a tunnel and is not for apps", Reached: apperr.ReachedNo,
	}
}

// send gives the call to a host outside, to the own app, or to the mesh.
func (i *Invoker) send(ctx context.Context, a *attempts) (*Answer, error) {
	c := a.c
	if i.outside(c) {
		if i.external == nil {
			return nil, invalidTarget(c.Target.Given, "calls that leave the mesh are not carried here")
		}
		if e := c.OverHTTP(); e != nil {
			return nil, e
		}
		return a.outside(ctx, i.external)
	}
	key := c.Target.Key(i.self.Namespace())
	if i.local != nil && key.App == i.self.App() && key.Namespace == i.self.Namespace() {
		a.allowance = &i.own
		a.allowance.calls.add(a.progress.began)
		answer, err := a.through(ctx, i.local)
		if err == nil {
			answer.Peer = i.self
		}
		return answer, err
	}
	want, err := i.self.Sibling(key.Namespace, key.App)
	if err != nil {
		return nil, invalidTarget(c.Target.Given, "an app id is "+identity.Rule)
	}
	return a.run(ctx, key, want)
}

// cleanAnswer makes sure of an Answer's promises, and that nothing in it
// claims to come from pillion.
func cleanAnswer(a *Answer) {
	var protocol string // which of those offered the app chose
	if a.Upgraded != nil {
		protocol = a.Fields.Get("Upgrade")
	}
	a.Fields.strip(oneHop | reserved)
	if protocol != "" {
		a.Fields.Add("Upgrade", protocol)
	}
	if a.Body == nil {
		a.Body = BytesBody(nil)
	}
}
