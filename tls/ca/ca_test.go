package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
)

func TestLeafSaysWhoAndThroughWhichMachineAndNoMore(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	c := ephemeral(t, ca.Options{Now: at(now)})
	forged, _ := url.Parse("spiffe://public/ns/default/someone-else")
	request := csr(t, newKey(t), &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "root", Organization: []string{"forged"}},
		DNSNames: []string{"example.org"},
		URIs:     []*url.URL{forged},
	})
	chain, err := c.Sign(request, todo(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(chain) != 2 {
		t.Fatalf("chain of %d certificates, want leaf and issuer", len(chain))
	}
	leaf := chain[0]
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://public/ns/default/todo-api" {
		t.Errorf("URIs = %v", leaf.URIs)
	}
	if got := leaf.Subject.ToRDNSequence().String(); got != "O="+c.Member() {
		t.Errorf("subject = %s, want only O=%s", got, c.Member())
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses) != 0 {
		t.Errorf("the leaf has other names: %v %v %v", leaf.DNSNames, leaf.IPAddresses, leaf.EmailAddresses)
	}
	if !leaf.NotBefore.Equal(now.Add(-15*time.Minute)) || !leaf.NotAfter.Equal(now.Add(24*time.Hour)) {
		t.Errorf("valid from %s to %s", leaf.NotBefore, leaf.NotAfter)
	}
	if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("IsCA %v, usage %v", leaf.IsCA, leaf.KeyUsage)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if err := verify(c, chain, now, usage); err != nil {
			t.Errorf("usage %v: %v", usage, err)
		}
	}
}

func TestIssuerCannotMakeIssuers(t *testing.T) {
	t.Parallel()
	c := ephemeral(t, ca.Options{})
	chain, err := c.Sign(csr(t, newKey(t), nil), todo(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	root, issuer := c.Roots()[0], chain[1]
	if !root.IsCA || root.MaxPathLen != 1 {
		t.Errorf("root: IsCA %v, path length %d, want 1", root.IsCA, root.MaxPathLen)
	}
	if !issuer.IsCA || issuer.MaxPathLen != 0 || !issuer.MaxPathLenZero {
		t.Errorf("issuer: IsCA %v, path length %d, want 0", issuer.IsCA, issuer.MaxPathLen)
	}
	years := time.Until(root.NotAfter).Hours() / 24 / 365
	if years < 9.9 || years > 10.1 {
		t.Errorf("root lives for %.1f years, want 10", years)
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	c := ephemeral(t, ca.Options{})
	good := csr(t, newKey(t), nil)
	tampered := append([]byte(nil), good...)
	tampered[len(tampered)-1] ^= 1
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weakRequest, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, weak)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := identity.New("elsewhere", "default", "todo-api")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		csr  []byte
		id   identity.ID
		want string
	}{
		"no request":           {nil, todo(t), "certificate request"},
		"no request's bytes":   {[]byte("hello"), todo(t), "certificate request"},
		"a huge request":       {make([]byte, 1<<20), todo(t), "at most"},
		"a key not proven":     {tampered, todo(t), "certificate request"},
		"a weak RSA key":       {weakRequest, todo(t), "weak"},
		"a weak curve":         {csr(t, p224, nil), todo(t), "weak"},
		"another trust domain": {good, other, "trust domain public"},
		"nobody":               {good, identity.ID{}, "trust domain"},
	} {
		if _, err := c.Sign(test.csr, test.id, 0); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Sign of %s = %v, want it to say %q", name, err, test.want)
		}
	}
	if _, err := c.Sign(good, todo(t), 0); err != nil {
		t.Errorf("Sign of a good request = %v", err)
	}
}

func TestTwoCAsDifferByRootAndKeyNotByName(t *testing.T) {
	t.Parallel()
	a, b := ephemeral(t, ca.Options{}), ephemeral(t, ca.Options{})
	if a.TrustDomain() != "public" || b.TrustDomain() != "public" {
		t.Errorf("trust domains %s and %s, want public", a.TrustDomain(), b.TrustDomain())
	}
	if a.Fingerprint() == b.Fingerprint() || len(a.Fingerprint()) != 8 {
		t.Errorf("fingerprints %s and %s", a.Fingerprint(), b.Fingerprint())
	}
	if string(a.DiscoveryKey()) == string(b.DiscoveryKey()) || len(a.DiscoveryKey()) != 32 {
		t.Error("discovery keys are equal or not of 32 bytes")
	}
	if a.Member() == b.Member() || len(a.Member()) != 8 {
		t.Errorf("members %s and %s", a.Member(), b.Member())
	}
	chain, err := a.Sign(csr(t, newKey(t), nil), todo(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(b, chain, time.Now(), x509.ExtKeyUsageAny); err == nil {
		t.Error("b's root verifies a's leaf")
	}
}

func TestIssuerIsRenewedInItsLastQuarter(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, open := range map[string]func(t *testing.T, o ca.Options) *ca.CA{
		"memory": ephemeral,
		"folder": func(t *testing.T, o ca.Options) *ca.CA { return ensure(t, t.TempDir(), o) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := made
			c := open(t, ca.Options{Now: func() time.Time { return now }})
			request := csr(t, newKey(t), nil)
			serials := map[string]int{}
			for _, days := range []int{0, 200, 300, 301, 400, 700, 1000, 3600} {
				now = made.Add(time.Duration(days) * 24 * time.Hour)
				chain, err := c.Sign(request, todo(t), 0)
				if err != nil {
					t.Fatalf("day %d: %v", days, err)
				}
				if err := verify(c, chain, now, x509.ExtKeyUsageAny); err != nil {
					t.Errorf("day %d: %v", days, err)
				}
				serials[chain[1].SerialNumber.String()]++
			}
			if got, want := len(serials), 5; got != want { // made, 300, 700, 1000, 3600
				t.Errorf("%d issuer certificates, want %d", got, want)
			}
		})
	}
}

func TestLeafDoesNotOutliveItsIssuer(t *testing.T) {
	t.Parallel()
	made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := ephemeral(t, ca.Options{Now: at(made)})
	chain, err := c.Sign(csr(t, newKey(t), nil), todo(t), 5*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if chain[0].NotAfter.After(chain[1].NotAfter) {
		t.Errorf("the leaf ends %s, its issuer %s", chain[0].NotAfter, chain[1].NotAfter)
	}
}

func ephemeral(t *testing.T, o ca.Options) *ca.CA {
	t.Helper()
	c, err := ca.Ephemeral(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ensure(t *testing.T, dir string, o ca.Options) *ca.CA {
	t.Helper()
	c, _, err := ca.Ensure(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func todo(t *testing.T) identity.ID {
	t.Helper()
	id, err := identity.New("public", "default", "todo-api")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csr(t *testing.T, key *ecdsa.PrivateKey, template *x509.CertificateRequest) []byte {
	t.Helper()
	if template == nil {
		template = &x509.CertificateRequest{}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func verify(c *ca.CA, chain []*x509.Certificate, now time.Time, usage x509.ExtKeyUsage) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, root := range c.Roots() {
		roots.AddCert(root)
	}
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	return err
}

func at(now time.Time) func() time.Time { return func() time.Time { return now } }
