// Package mtls makes the mesh's connections: TLS 1.3 with a certificate on
// both sides, each peer known by its SPIFFE ID and verified afresh at every
// handshake against the roots of that moment.
package mtls

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/sentry"
)

const (
	// look is how often the wall clock is looked at. A timer does not run
	// while the machine sleeps, so none is trusted for longer.
	look = time.Minute
	// patience bounds one attempt to get a leaf.
	patience = 30 * time.Second
	// Retries wait up to firstRetry, doubled each time up to lastRetry.
	firstRetry = time.Second
	lastRetry  = time.Minute
	// warnEvery is how many failed renewals are between two warnings.
	warnEvery = 30
)

// Config is what a Workload is made of. ID and Sentry are required.
type Config struct {
	ID     identity.ID
	Sentry sentry.Sentry
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Logger is told about renewals. Nil: nobody.
	Logger *slog.Logger
	// Renewed is told of each renewal, with why it failed or nil. Nil: nobody.
	Renewed func(error)
}

// A Workload is who this process is in the mesh: a key, a leaf that is kept
// fresh, and the roots to trust. It is safe for concurrent use.
type Workload struct {
	id     identity.ID
	domain spiffeid.TrustDomain
	sentry sentry.Sentry
	now    func() time.Time
	log    *slog.Logger
	// renewed may be nil.
	renewed func(error)
	// current is replaced whole at each renewal; a handshake keeps the one it
	// began with.
	current atomic.Pointer[credentials]
}

// credentials are what one renewal brought.
type credentials struct {
	certificate *tls.Certificate
	roots       *x509bundle.Bundle
	renewAt     time.Time
	replaced    chan struct{} // closed when there are newer ones
}

// NewWorkload makes a key and asks the Sentry for the first leaf. It waits for
// at most 30 s or until ctx ends. A leaf that is not valid by this clock is an
// error that names the clock. Nothing runs after it has returned; for renewal
// call Run.
func NewWorkload(ctx context.Context, cfg Config) (*Workload, error) {
	uri, err := cfg.ID.SPIFFE()
	if err != nil {
		return nil, fmt.Errorf("get a certificate: %w", err)
	}
	w := &Workload{id: cfg.ID, domain: uri.TrustDomain(), sentry: cfg.Sentry, now: cfg.Now, log: cfg.Logger, renewed: cfg.Renewed}
	if w.now == nil {
		w.now = time.Now
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if err := w.renew(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

// Run renews the leaf at about half of its life until ctx ends, then returns
// nil. A renewal that fails is tried again within a minute, for as long as it
// takes. Sleep of the machine and clocks that are set back are noticed within
// a minute.
func (w *Workload) Run(ctx context.Context) error {
	failed := 0
	for {
		wait := look
		switch {
		case !w.due():
			wait = min(wait, w.left())
		case w.attempt(ctx, failed):
			failed = 0
			continue
		default:
			wait = backoff(failed)
			failed++
		}
		if !sleep(ctx, wait) {
			return nil
		}
	}
}

// attempt renews once and reports whether it did.
func (w *Workload) attempt(ctx context.Context, failed int) bool {
	err := w.renew(ctx)
	leaf := w.Leaf()
	if w.renewed != nil && ctx.Err() == nil {
		w.renewed(err)
	}
	switch {
	case err == nil:
		w.log.Info("certificate renewed", "id", w.id, "expires", leaf.NotAfter)
		return true
	case ctx.Err() != nil:
	case failed%warnEvery == 0:
		w.log.Warn("certificate not renewed; retrying", "id", w.id, "expires", leaf.NotAfter, "err", err)
	default:
		w.log.Debug("certificate not renewed; retrying", "id", w.id, "failed", failed, "err", err)
	}
	return false
}

// due reports whether a new leaf is wanted: it is time, or the clock has been
// set back to before the present one begins.
func (w *Workload) due() bool {
	now := w.wall()
	cr := w.current.Load()
	return !now.Before(cr.renewAt) || now.Before(cr.certificate.Leaf.NotBefore)
}

func (w *Workload) left() time.Duration { return w.current.Load().renewAt.Sub(w.wall()) }

// wall is now without the monotonic reading, which stands still while the
// machine sleeps.
func (w *Workload) wall() time.Time { return w.now().Round(0) }

// backoff is the wait after the n-th failure in a row: half of it is jitter.
func backoff(n int) time.Duration {
	most := min(lastRetry, firstRetry<<min(n, 10))
	return most/2 + mathrand.N(most/2) //nolint:gosec // jitter is no secret
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// renew makes a new key, gets a leaf for it, proves that peers would accept
// it, and puts it in the old one's place.
func (w *Workload) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key for %s: %w", w.id, err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return fmt.Errorf("ask for a certificate for %s: %w", w.id, err)
	}
	got, err := w.sentry.Sign(ctx, sentry.Request{ID: w.id, CSR: csr})
	if err != nil {
		return fmt.Errorf("get a certificate for %s: %w", w.id, err)
	}
	fresh, err := w.accept(got, key)
	if err != nil {
		return fmt.Errorf("get a certificate for %s: %w", w.id, err)
	}
	if old := w.current.Swap(fresh); old != nil {
		close(old.replaced)
	}
	return nil
}

// accept checks a Sentry's answer as a peer would.
func (w *Workload) accept(got sentry.Response, key *ecdsa.PrivateKey) (*credentials, error) {
	if len(got.Chain) == 0 || len(got.Roots) == 0 {
		return nil, &apperr.Error{Reason: apperr.CertNotValid, What: "the sentry gave no certificate"}
	}
	now := w.wall()
	leaf := got.Chain[0]
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, &apperr.Error{Reason: apperr.CertNotValid, What: "the sentry gave a certificate for another key"}
	}
	roots := x509bundle.FromX509Authorities(w.domain, got.Roots)
	id, wrong := verify(got.Chain, roots, now, "this app")
	if wrong != nil {
		return nil, wrong
	}
	if id != w.id {
		return nil, &apperr.Error{
			Reason: apperr.CertNotValid,
			What:   "the sentry gave a certificate of another identity",
			Cause:  "it is " + id.String() + ", not " + w.id.String(),
		}
	}
	raw := make([][]byte, len(got.Chain))
	for i, cert := range got.Chain {
		raw[i] = cert.Raw
	}
	return &credentials{
		certificate: &tls.Certificate{Certificate: raw, PrivateKey: crypto.PrivateKey(key), Leaf: leaf},
		roots:       roots,
		renewAt:     renewAt(now, leaf.NotAfter),
		replaced:    make(chan struct{}),
	}, nil
}

// renewAt is between 45 and 55 hundredths of the way from now to end, so that
// apps started together do not come back together. It is at least a second
// away, so that a Sentry near its own end is not asked without pause.
func renewAt(now, end time.Time) time.Time {
	part := 0.45 + 0.1*mathrand.Float64() //nolint:gosec // jitter is no secret
	return now.Add(max(time.Second, time.Duration(float64(end.Sub(now))*part)))
}

// ID is who this workload is.
func (w *Workload) ID() identity.ID { return w.id }

// Leaf is the present leaf. It must not be changed.
func (w *Workload) Leaf() *x509.Certificate { return w.current.Load().certificate.Leaf }

// Changed returns a channel that is closed when the present leaf has been
// replaced. Ask for it before Leaf, and again after each change.
func (w *Workload) Changed() <-chan struct{} { return w.current.Load().replaced }

// ownValid returns why our leaf cannot be shown now, or nil.
func (w *Workload) ownValid(cr *credentials) *apperr.Error {
	wrong := ca.CheckTime("this app's own certificate", cr.certificate.Leaf, w.now())
	if wrong != nil {
		wrong.Reached = apperr.ReachedNo
	}
	return wrong
}
