package sentry_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/sentry"
)

func TestLocalSignsForItsTrustDomainOnly(t *testing.T) {
	t.Parallel()
	authority, err := ca.Ephemeral(ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	local := sentry.NewLocal(authority, time.Hour)
	request := func(domain string) sentry.Request {
		id, err := identity.New(domain, "default", "todo-api")
		if err != nil {
			t.Fatal(err)
		}
		return sentry.Request{ID: id, CSR: csr}
	}
	got, err := local.Sign(t.Context(), request("public"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Chain) != 2 || len(got.Roots) != 1 || !got.Roots[0].Equal(authority.Roots()[0]) {
		t.Errorf("a chain of %d, %d roots", len(got.Chain), len(got.Roots))
	}
	if left := time.Until(got.Chain[0].NotAfter); left > time.Hour || left < 59*time.Minute {
		t.Errorf("the leaf lives for %v, want the hour that was asked for", left)
	}
	if _, err := local.Sign(t.Context(), request("elsewhere")); err == nil {
		t.Error("another trust domain got a leaf")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := local.Sign(ctx, request("public")); !errors.Is(err, context.Canceled) {
		t.Errorf("Sign after the end = %v", err)
	}
}
