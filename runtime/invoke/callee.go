package invoke

import (
	"context"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/tls/identity"
)

// An Access decides who may call what.
type Access interface {
	// Allow returns why the call may not be made, or nil. It must not block.
	Allow(c *Call) error
}

// CalleeOptions are what the callee's side is made of.
type CalleeOptions struct {
	// Self is who is called. Required.
	Self identity.ID
	// Access decides who may call. Required: there is no callee without.
	Access Access
	// App gets the calls that are allowed. Required.
	App Handler
	// Stages stand between the access check and the app, the first outermost.
	Stages []Stage
	// Taps are the readers of the calls that the app is given. Nil: there can
	// be none.
	Taps *Taps
	// Claims lets callers call that have proved nothing, as far as Access does:
	// in a mesh of clear text there are no others. What their fields claim of
	// them is what the app is told.
	Claims bool
}

// NewCallee is the callee's side of service invocation: the mesh hands it what
// arrived, with Caller set from the verified certificate. Who calls, whom, and
// whether it may is checked before anything reaches the app.
func NewCallee(o CalleeOptions) Handler {
	stages := append([]Stage{TapStage(AtCallee, o.Taps)}, o.Stages...)
	return &callee{self: o.Self, access: o.Access, next: Chain(o.App, stages...), claims: o.Claims}
}

type callee struct {
	self   identity.ID
	access Access
	next   Handler
	claims bool
}

func (h *callee) Serve(ctx context.Context, c *Call) (*Answer, error) {
	if err := h.admit(c); err != nil {
		closeBody(c)
		return nil, err
	}
	h.identify(c)
	guard(c)
	answer, err := h.next.Serve(ctx, c)
	if err != nil {
		closeBody(c)
		return nil, apperr.From(err)
	}
	cleanAnswer(answer)
	return answer, nil
}

// identify makes c's fields say who calls whom: what was proved, or what was
// claimed where nobody can prove anything.
func (h *callee) identify(c *Call) {
	app, namespace := c.Caller.App(), c.Caller.Namespace()
	if c.Caller.IsZero() {
		app, namespace = c.Fields.Get(FieldCallerApp), c.Fields.Get(FieldCallerNamespace)
	}
	c.Fields.strip(oneHop | reserved | claimed)
	name(&c.Fields, app, namespace, h.self.App())
}

// admit checks who calls and whom. What it refuses has not reached the app.
func (h *callee) admit(c *Call) *apperr.Error {
	if c.Caller.IsZero() && !h.claims {
		return &apperr.Error{
			Reason: apperr.PeerNotTrusted, What: "the caller has no identity", Reached: apperr.ReachedNo,
		}
	}
	if c.Target.App != "" {
		if key := c.Target.Key(h.self.Namespace()); key.App != h.self.App() || key.Namespace != h.self.Namespace() {
			return &apperr.Error{
				Reason:  apperr.PeerNotTrusted,
				What:    key.App + " is not who answers here",
				Cause:   "this is " + h.self.String(),
				Reached: apperr.ReachedNo,
			}
		}
	}
	if err := h.access.Allow(c); err != nil {
		denied := *apperr.From(err)
		denied.Reached = apperr.ReachedNo
		return &denied
	}
	return nil
}
