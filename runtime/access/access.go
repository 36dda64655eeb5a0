// Package access decides who may call what, at the callee's sidecar, from the
// identity that the caller's certificate proved.
package access

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// An Access lets the apps of one's own namespace call, and nobody else; while a
// policy is in force, of those only whom its rules let, and of other namespaces
// whom it names. It is safe for concurrent use.
type Access struct {
	self       identity.ID
	policy     atomic.Pointer[Policy]
	unverified bool
	judged     func(caller identity.ID, byApp, allowed bool)
}

var _ invoke.Access = (*Access)(nil)

// New makes the rules for the app self. No policy is in force.
func New(self identity.ID) *Access { return &Access{self: self} }

// Unverified lets callers without an identity call, as far as the policy's
// default lets them: in a mesh of clear text there are no others, and then all
// rules that name a caller are for nobody. It is for before the first call.
func (a *Access) Unverified() { a.unverified = true }

// Judged has f told of each call that a policy decided, and whether it was by
// what it says of that caller. f must not block. It is for before the first
// call.
func (a *Access) Judged(f func(caller identity.ID, byApp, allowed bool)) { a.judged = f }

// Enforce puts p, which must not be changed any more, in force for the calls
// that come from now on. Nil puts none in force.
func (a *Access) Enforce(p *Policy) { a.policy.Store(p) }

// Allow returns nil if c's caller may make the call, and an *apperr.Error that
// says why not otherwise. It does not block. The app is given the raw path
// whatever the rules are; they are for the decoded and cleaned one, so while a
// policy is in force a call is refused whose path does not mean the same to
// everybody.
func (a *Access) Allow(c *invoke.Call) error {
	stranger := false // of another namespace
	switch {
	case c.Caller.IsZero() && a.unverified:
	case c.Caller.IsZero() || c.Caller.TrustDomain() != a.self.TrustDomain():
		return a.denied(c, fmt.Sprintf("it is not of the trust domain %s", a.self.TrustDomain()), "")
	default:
		stranger = c.Caller.Namespace() != a.self.Namespace()
	}
	policy := a.policy.Load()
	if policy == nil {
		if stranger {
			return invoke.NamespaceDenied(c.Caller, a.self, c)
		}
		return nil
	}
	path, doubt := CleanPath(c.Path)
	if doubt != "" {
		return a.ambiguous(c, path, doubt)
	}
	v := policy.decide(c.Caller, c.Verb, path)
	if stranger && (v.app == nil || v.allowed && !v.byApp) {
		return invoke.NamespaceDenied(c.Caller, a.self, c) // no policy lets it by name
	}
	if a.judged != nil {
		a.judged(c.Caller, v.byApp, v.allowed)
	}
	if v.allowed {
		return nil
	}
	hint := ""
	if v.open && !c.Caller.IsZero() {
		hint = fmt.Sprintf("a rule at %s would: %s", a.self.App(), policy.hint(c.Caller, c.Verb, path))
	}
	return a.denied(c, policy.why(v), hint)
}

// denied refuses a caller, for a reason that may say a rule.
func (a *Access) denied(c *invoke.Call, cause, hint string) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.AccessDenied, What: a.name() + " does not let " + name(c.Caller) + " call it",
		Dapr: daprText(c), Cause: cause, Hint: hint, Reached: apperr.ReachedNo,
	}
}

// ambiguous refuses a path that could dodge a rule by the way it is written.
func (a *Access) ambiguous(c *invoke.Call, path, doubt string) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.PathAmbiguous,
		What:   a.name() + " has an access policy, and the path may mean another one to the app than to its rules",
		Dapr:   daprText(c),
		Cause:  "the path is refused while an access policy is in force: " + doubt,
		Hint:   fmt.Sprintf("call it as %q, or without the policy", path), Reached: apperr.ReachedNo,
	}
}

func (a *Access) name() string { return a.self.App() + "." + a.self.Namespace() }

// name is how messages call a caller.
func name(caller identity.ID) string {
	if caller.IsZero() {
		return "a caller without an identity"
	}
	return caller.String()
}

// daprText is what Dapr says to all whom it refuses.
func daprText(c *invoke.Call) string {
	operation, _, _ := strings.Cut(c.Path, "?")
	return fmt.Sprintf("access control policy has denied access to id: %s operation: %s verb: %s",
		c.Caller, strings.TrimPrefix(operation, "/"), c.Verb)
}
