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
// policy is in force, of those only whom its rules let. It is safe for
// concurrent use.
type Access struct {
	self   identity.ID
	policy atomic.Pointer[Policy]
}

var _ invoke.Access = (*Access)(nil)

// New makes the rules for the app self. No policy is in force.
func New(self identity.ID) *Access { return &Access{self: self} }

// Enforce puts p, which must not be changed any more, in force for the calls
// that come from now on. Nil puts none in force.
func (a *Access) Enforce(p *Policy) { a.policy.Store(p) }

// Allow returns nil if c's caller may make the call, and an *apperr.Error that
// says why not otherwise. It does not block. The app is given the raw path
// whatever the rules are; they are for the decoded and cleaned one, so while a
// policy is in force a call is refused whose path does not mean the same to
// everybody.
func (a *Access) Allow(c *invoke.Call) error {
	switch {
	case c.Caller.IsZero() || c.Caller.TrustDomain() != a.self.TrustDomain():
		return a.denied(c, fmt.Sprintf("it is not of the trust domain %s", a.self.TrustDomain()), "")
	case c.Caller.Namespace() != a.self.Namespace():
		return invoke.NamespaceDenied(c.Caller, a.self, c)
	}
	policy := a.policy.Load()
	if policy == nil {
		return nil
	}
	path, doubt := CleanPath(c.Path)
	if doubt != "" {
		return a.ambiguous(c, path, doubt)
	}
	allowed, rule := policy.allows(c.Caller.App(), c.Verb, path)
	switch {
	case allowed:
		return nil
	case rule > 0:
		return a.denied(c, fmt.Sprintf("its rule %d says: %s", rule, &policy.Rules[rule-1]), "")
	default:
		return a.denied(c, "none of its rules allows it",
			fmt.Sprintf("a rule at %s would: allow %s %s %s", a.self.App(), c.Caller.App(), path, c.Verb))
	}
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
