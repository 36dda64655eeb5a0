// Package access decides who may call what, at the callee's sidecar, from the
// identity that the caller's certificate proved.
package access

import (
	"fmt"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// A Namespace lets the apps of one's own namespace call, and nobody else. It
// is what applies while there is no policy. It is safe for concurrent use.
type Namespace struct{ self identity.ID }

var _ invoke.Access = (*Namespace)(nil)

// NewNamespace makes the rule for the app self.
func NewNamespace(self identity.ID) *Namespace { return &Namespace{self} }

// Allow returns nil if c's caller is an app of our trust domain and namespace,
// and an *apperr.Error that says why not otherwise. It does not block.
func (n *Namespace) Allow(c *invoke.Call) error {
	switch {
	case c.Caller.IsZero() || c.Caller.TrustDomain() != n.self.TrustDomain():
		return n.stranger(c)
	case c.Caller.Namespace() != n.self.Namespace():
		return invoke.NamespaceDenied(c.Caller, n.self, c)
	}
	return nil
}

// stranger refuses a caller whose certificate is not of our trust domain. TLS
// lets none in; this holds if it ever does.
func (n *Namespace) stranger(c *invoke.Call) *apperr.Error {
	caller := c.Caller.String()
	if caller == "" {
		caller = "a caller without an identity"
	}
	operation, _, _ := strings.Cut(c.Path, "?")
	return &apperr.Error{
		Reason: apperr.AccessDenied,
		What:   fmt.Sprintf("%s.%s does not let %s call it", n.self.App(), n.self.Namespace(), caller),
		Dapr: fmt.Sprintf("access control policy has denied access to id: %s operation: %s verb: %s",
			c.Caller, strings.TrimPrefix(operation, "/"), c.Verb),
		Cause:   fmt.Sprintf("it is not of the trust domain %s", n.self.TrustDomain()),
		Reached: apperr.ReachedNo,
	}
}
