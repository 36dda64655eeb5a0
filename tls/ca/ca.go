// Package ca is the mini CA of a home: a root, an issuer signed by it, and the
// leaves of workloads signed by that. It lives in a folder that several
// processes share; nothing of it needs a daemon.
package ca

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/tls/identity"
)

// How long things last. An issuer is renewed in its last quarter, so that a
// machine switched on a few times a year still finds a good one.
const (
	rootTTL    = 10 * 365 * 24 * time.Hour
	issuerTTL  = 365 * 24 * time.Hour
	issuerLast = issuerTTL / 4

	// LeafTTL is a leaf's life unless another one is asked for.
	LeafTTL = 24 * time.Hour
	// leafSkew is how far behind ours a peer's clock may be; Dapr's value.
	leafSkew = 15 * time.Minute
	// caSkew is the same for root and issuer. They outlive a clock that was
	// set to the wrong time zone when they were made.
	caSkew = 24 * time.Hour
)

// Options are what a CA is opened with. The zero value is good.
type Options struct {
	// TrustDomain is who the CA vouches for. Empty: what an existing CA says,
	// identity.DefaultTrustDomain for a new one. An existing CA of another
	// trust domain is an error.
	TrustDomain string
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger is told what went wrong but could be coped with. Nil: nobody.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// A CA signs for one trust domain. It is safe for concurrent use.
type CA struct {
	trustDomain string
	roots       []*x509.Certificate // the first one is that of the issuer
	key         []byte
	member      string
	now         func() time.Time
	log         *slog.Logger
	vault       vault
}

// A vault keeps what a CA signs with. It is asked at each signature, because
// the issuer's key must not stay in a process that parses traffic.
type vault interface {
	issuer() (pair, error)
	// renew signs a new certificate for the issuer's present key.
	renew(now time.Time) (pair, error)
}

// A pair is a certificate with its private key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// TrustDomain is who the CA vouches for.
func (c *CA) TrustDomain() string { return c.trustDomain }

// Roots are the certificates that a chain of this trust domain may end in.
// The slice is the caller's; the certificates must not be changed.
func (c *CA) Roots() []*x509.Certificate { return slices.Clone(c.roots) }

// Fingerprint is the first 8 hex digits of the SHA-256 of the root: the short
// name of this trust domain on this machine.
func (c *CA) Fingerprint() string {
	sum := sha256.Sum256(c.roots[0].Raw)
	return hex.EncodeToString(sum[:4])
}

// DiscoveryKey is the secret that hides app IDs on the network; all members
// of the trust domain have it. The slice is the caller's.
func (c *CA) DiscoveryKey() []byte { return slices.Clone(c.key) }

// Member names the machine whose leaves this CA signs. It is the organization
// in their subject.
func (c *CA) Member() string { return c.member }

// Sign makes a leaf for the key in a PKCS #10 request (DER), whose signature
// must be right. Nothing else of the request is used: the leaf says id, for
// client and server use, from a quarter of an hour ago until ttl from now
// (zero: LeafTTL), but never longer than the issuer. It returns the leaf and
// the issuer. An issuer near its end is renewed first.
func (c *CA) Sign(csrDER []byte, id identity.ID, ttl time.Duration) ([]*x509.Certificate, error) {
	if id.TrustDomain() != c.trustDomain {
		return nil, fmt.Errorf("sign for %q: this CA is of the trust domain %s", id, c.trustDomain)
	}
	csr, err := checkRequest(csrDER)
	if err != nil {
		return nil, fmt.Errorf("sign for %s: %w", id, err)
	}
	if ttl <= 0 {
		ttl = LeafTTL
	}
	now := c.now()
	issuer, err := c.usableIssuer(now)
	if err != nil {
		return nil, err
	}
	leaf, err := signLeaf(leafSpec{csr: csr, id: id, member: c.member, now: now, ttl: ttl}, issuer)
	if err != nil {
		return nil, fmt.Errorf("sign for %s: %w", id, err)
	}
	return []*x509.Certificate{leaf, issuer.cert}, nil
}

// usableIssuer is the issuer, renewed if it is in its last quarter. A renewal
// that fails matters only once the old one has ended.
func (c *CA) usableIssuer(now time.Time) (pair, error) {
	issuer, err := c.vault.issuer()
	if err != nil {
		return pair{}, err
	}
	wrong := CheckTime("the issuer's certificate", issuer.cert, now)
	if now.Before(issuer.cert.NotAfter.Add(-issuerLast)) {
		if wrong != nil {
			return pair{}, wrong
		}
		return issuer, nil
	}
	renewed, err := c.vault.renew(now)
	if err == nil {
		return renewed, nil
	}
	if wrong != nil {
		wrong.Cause += ", and could not be renewed: " + err.Error()
		wrong.Err = err
		return pair{}, wrong
	}
	c.log.Warn("issuer certificate not renewed; the old one is used", "expires", issuer.cert.NotAfter, "err", err)
	return issuer, nil
}

// CheckTime returns an error that says why the certificate called name is not
// valid at now, or nil. A certificate that begins within the next day is a
// matter of clocks, and the error says so.
func CheckTime(name string, cert *x509.Certificate, now time.Time) *apperr.Error {
	switch {
	case now.Before(cert.NotBefore):
		wait := cert.NotBefore.Sub(now)
		e := &apperr.Error{
			Reason: apperr.CertNotValid,
			What:   name + " is not valid yet",
			Cause:  fmt.Sprintf("it begins in %s, at %s; this clock says %s", span(wait), stamp(cert.NotBefore), stamp(now)),
			Hint:   "set this machine's clock",
		}
		if wait < 24*time.Hour {
			e.Cause = fmt.Sprintf("this clock is at least %s behind the one it was made by: it says %s", span(wait), stamp(now))
			e.Hint = "set the clock of this machine, or of the one that made it"
		}
		return e
	case now.After(cert.NotAfter):
		return &apperr.Error{
			Reason: apperr.CertNotValid,
			What:   name + " has expired",
			Cause: fmt.Sprintf("it ended %s ago, at %s; this clock says %s",
				span(now.Sub(cert.NotAfter)), stamp(cert.NotAfter), stamp(now)),
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// span is d as people say it: no seconds from ten minutes on, no zeros at the
// end.
func span(d time.Duration) string {
	unit := time.Second
	if d >= 10*time.Minute {
		unit = time.Minute
	}
	text := d.Round(unit).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
