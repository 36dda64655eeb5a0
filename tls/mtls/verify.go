package mtls

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
)

// verifyPeer verifies the peer's chain against today's roots.
func (w *Workload) verifyPeer(cs tls.ConnectionState, name string) (identity.ID, *apperr.Error) {
	return verify(cs.PeerCertificates, w.current.Load().roots, w.now(), name)
}

// verify returns whom the chain proves to be at its other end, or why it
// proves nobody. name is what the error calls them.
func verify(chain []*x509.Certificate, roots *x509bundle.Bundle, now time.Time, name string) (identity.ID, *apperr.Error) {
	if _, _, err := x509svid.Verify(chain, roots, x509svid.WithTime(now)); err != nil {
		return identity.ID{}, explainChain(chain, roots, now, name, err)
	}
	id, err := idOf(chain[0])
	if err != nil {
		return identity.ID{}, untrusted(name, err.Error(), err)
	}
	return id, nil
}

// explainChain says why a chain was not accepted. It is a matter of time if
// the chain would be good at a moment at which all of it had begun.
func explainChain(chain []*x509.Certificate, roots *x509bundle.Bundle, now time.Time, name string, err error) *apperr.Error {
	var begun time.Time
	for _, cert := range chain {
		if cert.NotBefore.After(begun) {
			begun = cert.NotBefore
		}
	}
	if _, _, timeless := x509svid.Verify(chain, roots, x509svid.WithTime(begun)); timeless != nil {
		return untrusted(name, causeOf(chain), err)
	}
	for _, certs := range [][]*x509.Certificate{chain, roots.X509Authorities()} {
		if wrong := ca.CheckTime(name+"'s certificate", furthestOff(certs, now), now); wrong != nil {
			wrong.Reached = apperr.ReachedNo
			wrong.Err = err
			return wrong
		}
	}
	return untrusted(name, causeOf(chain), err)
}

// furthestOff is the certificate whose time is furthest from now.
func furthestOff(certs []*x509.Certificate, now time.Time) *x509.Certificate {
	off := func(c *x509.Certificate) time.Duration { return max(c.NotBefore.Sub(now), now.Sub(c.NotAfter)) }
	return slices.MaxFunc(certs, func(a, b *x509.Certificate) int { return cmp.Compare(off(a), off(b)) })
}

// causeOf names what was shown instead of a certificate of our trust domain.
func causeOf(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return "it has no certificate"
	}
	id, err := x509svid.IDFromCert(chain[0])
	if err != nil {
		return "its certificate has no SPIFFE ID"
	}
	return fmt.Sprintf("its certificate, for %s, is not of our CA", id)
}

func idOf(cert *x509.Certificate) (identity.ID, error) {
	uri, err := x509svid.IDFromCert(cert)
	if err != nil {
		return identity.ID{}, fmt.Errorf("read the peer's identity: %w", err)
	}
	return identity.Parse(uri.String())
}

func nameOf(id identity.ID) string {
	if id.IsZero() {
		return "the peer"
	}
	return id.App()
}

func untrusted(name, cause string, err error) *apperr.Error {
	return &apperr.Error{
		Reason:  apperr.PeerNotTrusted,
		What:    name + " is not who it should be",
		Cause:   cause,
		Reached: apperr.ReachedNo,
		Err:     err,
	}
}

func wrongPeer(want, got identity.ID) *apperr.Error {
	return untrusted(nameOf(want), fmt.Sprintf("it is %s, not %s", got, want), nil)
}
