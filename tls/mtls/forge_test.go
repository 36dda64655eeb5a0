package mtls_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/url"
	"testing"

	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/mtls"
	"github.com/pillion-dev/pillion/tls/sentry"
)

// certificate signs a certificate by hand, for what the CA would not sign.
func certificate(t *testing.T, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func serial(t *testing.T) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func urls(t *testing.T, texts []string) []*url.URL {
	t.Helper()
	var all []*url.URL
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return all
}

// rooted is a Sentry that also trusts another root.
type rooted struct {
	sentry.Sentry
	root *x509.Certificate
}

func (r rooted) Sign(ctx context.Context, request sentry.Request) (sentry.Response, error) {
	got, err := r.Sentry.Sign(ctx, request)
	got.Roots = append(got.Roots, r.root)
	return got, err
}

// withRoots is the app of a trust domain that has root as well.
func withRoots(t *testing.T, root *x509.Certificate, app string) *mtls.Workload {
	t.Helper()
	w, err := mtls.NewWorkload(t.Context(), mtls.Config{
		ID:     id(t, app),
		Sentry: rooted{sentry.NewLocal(newCA(t, ca.Options{}), 0), root},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}
