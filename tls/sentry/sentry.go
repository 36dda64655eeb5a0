// Package sentry is where a workload gets its certificate. It is one
// interface for three places: the own process, another process, a cluster.
package sentry

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
)

// A Request asks for a leaf.
type Request struct {
	// ID is who the leaf is to say the workload is.
	ID identity.ID
	// CSR is a PKCS #10 request (DER) signed with the workload's key. Only its
	// key is used.
	CSR []byte
}

// A Response is a leaf and whom to trust.
type Response struct {
	// Chain is the leaf and the issuers above it, without the root.
	Chain []*x509.Certificate
	// Roots are what the chains of peers may end in, from now on.
	Roots []*x509.Certificate
}

// A Sentry vouches for workloads. Implementations are safe for concurrent use.
type Sentry interface {
	// Sign returns a leaf for the request, or an error that says why the
	// workload cannot have it. It returns when ctx ends.
	Sign(ctx context.Context, r Request) (Response, error)
}

var _ Sentry = (*Local)(nil)

// Local is the Sentry in the own process. It gives every identity of the CA's
// trust domain to who asks: whoever can read the CA's folder could sign it too.
type Local struct {
	ca  *ca.CA
	ttl time.Duration
}

// NewLocal makes a Sentry of a CA. Its leaves live for ttl, zero for
// ca.LeafTTL.
func NewLocal(authority *ca.CA, ttl time.Duration) *Local { return &Local{authority, ttl} }

// Sign implements Sentry. It reads files and computes, and waits for nobody.
func (l *Local) Sign(ctx context.Context, r Request) (Response, error) {
	if ctx.Err() != nil {
		return Response{}, context.Cause(ctx)
	}
	chain, err := l.ca.Sign(r.CSR, r.ID, l.ttl)
	if err != nil {
		return Response{}, err
	}
	return Response{Chain: chain, Roots: l.ca.Roots()}, nil
}
