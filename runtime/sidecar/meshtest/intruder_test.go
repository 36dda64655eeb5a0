package meshtest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
)

// alpn is what sidecars say they speak.
const alpn = "pillion/1"

// certified is a leaf of an authority.
func certified(t *testing.T, authority *ca.CA, app string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.New(authority.TrustDomain(), "default", app)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authority.Sign(csr, id, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Certificate{PrivateKey: key}
	for _, link := range chain {
		c.Certificate = append(c.Certificate, link.Raw)
	}
	return c
}

// A stranger is what somebody tries at a mesh port.
type stranger struct {
	name   string
	leaf   *tls.Certificate
	wanted bool // it is let in: what shows that the others could have been
}

// Who cannot say who it is, in a certificate of the trust domain, gets no byte
// from a mesh port, and the app hears nothing.
func TestTheMeshPortGivesStrangersNothing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.app("orders")
	at := m.instances("orders")[0].MeshAddresses[0]
	ours, err := ca.Open(filepath.Join(m.home, "certs"), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ca.Ephemeral(ca.Options{TrustDomain: ours.TrustDomain()})
	if err != nil {
		t.Fatal(err)
	}
	label := discovery.Label(discovery.DeriveKey(ours.DiscoveryKey(), ""), discovery.Key{Namespace: "default", App: "orders"})
	for _, s := range []stranger{
		{"no certificate", nil, false},
		{"a certificate of another authority with the right name", certified(t, theirs, "web"), false},
		{"a certificate of the authority", certified(t, ours, "web"), true},
	} {
		got, servers := knock(t, at, label, s.leaf)
		if servers == 0 {
			t.Errorf("%s: the server name was not accepted", s.name)
		}
		if wanted := len(got) > 0; wanted != s.wanted {
			t.Errorf("%s: got %d bytes %q, want some: %v", s.name, len(got), got, s.wanted)
		}
	}
	for _, name := range []string{"", "orders", "localhost", strings.Repeat("a", len(label))} {
		if got, servers := knock(t, at, name, certified(t, ours, "web")); servers != 0 || len(got) != 0 {
			t.Errorf("server name %q: %d certificates and %d bytes, want none", name, servers, len(got))
		}
	}
	if got := plain(t, at); strings.Contains(got, "HTTP") || strings.Contains(got, "pillion") || len(got) > 16 {
		t.Errorf("plain text was answered with %q", got)
	}
	m.untouched()
	m.invoke("orders", "a") // it is as well as before
	p.stop()
}

// knock shakes hands at a mesh port and reads what it is given: the first
// bytes, and how many certificates were shown.
func knock(t *testing.T, at, serverName string, leaf *tls.Certificate) (got []byte, shown int) {
	t.Helper()
	config := &tls.Config{
		ServerName: serverName, InsecureSkipVerify: true, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13,
		VerifyConnection: func(state tls.ConnectionState) error {
			shown = len(state.PeerCertificates)
			return nil
		},
	}
	if leaf != nil {
		// Whatever authorities the server says it takes.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return leaf, nil }
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", at)
	if err != nil {
		return nil, shown
	}
	defer func() { _ = conn.Close() }() // it has been heard out
	got = make([]byte, 64)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	n, _ := conn.Read(got) // an error is an answer, too
	return got[:n], shown
}

// plain speaks HTTP to a mesh port.
func plain(t *testing.T, at string) string {
	t.Helper()
	conn, err := dialPlain(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // it has been heard out
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "POST /v1.0/invoke/orders/method/a HTTP/1.1\r\nHost: orders\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(conn)
	if e, ok := err.(net.Error); ok && e.Timeout() { //nolint:errorlint // as the connection gives it
		t.Error("the connection was left open")
	}
	return string(data)
}
