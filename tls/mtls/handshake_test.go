package mtls_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
)

func TestBothSidesKnowEachOther(t *testing.T) {
	t.Parallel()
	c := newCA(t, ca.Options{})
	caller, callee := workload(t, c, "todo-api", nil), workload(t, c, "notification-service", nil)
	p := listen(t, server(callee))
	cs, err := call(t.Context(), p.addr, caller.Client(callee.ID(), label, proto))
	if err != nil {
		t.Fatal(err)
	}
	if got := within.Receive(t, p.met); got != caller.ID() {
		t.Errorf("the callee met %s, want %s", got, caller.ID())
	}
	if got, err := mtls.PeerID(cs); err != nil || got != callee.ID() {
		t.Errorf("the caller met %s, %v, want %s", got, err, callee.ID())
	}
	if cs.Version != tls.VersionTLS13 || cs.NegotiatedProtocol != proto {
		t.Errorf("version %x, protocol %q", cs.Version, cs.NegotiatedProtocol)
	}
	if _, err := mtls.PeerID(tls.ConnectionState{}); err == nil {
		t.Error("PeerID before a handshake returned no error")
	}
}

// Plain text, no certificate, and a certificate of another CA with the right
// name: none gets a byte to the application, or one from it.
func TestStrangersReachNothing(t *testing.T) {
	t.Parallel()
	ours, other := newCA(t, ca.Options{}), newCA(t, ca.Options{})
	callee := workload(t, ours, "notification-service", nil)
	stranger := workload(t, other, "todo-api", nil)
	trusting := func(cfg *tls.Config) *tls.Config {
		cfg.VerifyConnection = nil // a stranger does not care who we are
		return cfg
	}
	alone := trusting(stranger.Client(callee.ID(), label, proto))
	alone.GetClientCertificate = nil
	old := trusting(workload(t, ours, "todo-api", nil).Client(callee.ID(), label, proto))
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, cfg := range map[string]*tls.Config{
		"no certificate":                alone,
		"another CA with the same name": trusting(stranger.Client(callee.ID(), label, proto)),
		"TLS 1.2":                       old,
		"plain text":                    nil,
	} {
		p := listen(t, server(callee))
		var err error
		if cfg == nil {
			err = plain(t, p.addr)
		} else {
			_, err = call(t.Context(), p.addr, cfg)
		}
		if err == nil {
			t.Errorf("%s: was served", name)
		}
		select {
		case err := <-p.errors:
			if err == nil {
				t.Errorf("%s: refused without a reason", name)
			}
		case who := <-p.met:
			t.Errorf("%s: was taken for %s", name, who)
		}
		if n := p.bytes.Load(); n != 0 {
			t.Errorf("%s: %d bytes reached the application", name, n)
		}
	}
}

// plain sends a request in clear text and returns io.EOF if no answer of the
// application came.
func plain(t *testing.T, addr string) error {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("POST /notify HTTP/1.1\r\nHost: x\r\n\r\nsecret")); err != nil {
		return err
	}
	got, _ := io.ReadAll(conn)
	if strings.Contains(string(got), "hello") {
		return nil
	}
	return io.EOF
}

// The server must show nothing of who it is to those who do not know its
// label and protocol.
func TestServerShowsNoCertificateToTheUninitiated(t *testing.T) {
	t.Parallel()
	callee := workload(t, newCA(t, ca.Options{}), "notification-service", nil)
	p := listen(t, server(callee))
	for name, cfg := range map[string]*tls.Config{
		"another name":     {ServerName: "fedcba9876543210", NextProtos: []string{proto}},
		"no name":          {NextProtos: []string{proto}},
		"its app id":       {ServerName: "notification-service", NextProtos: []string{proto}},
		"no protocol":      {ServerName: label},
		"another protocol": {ServerName: label, NextProtos: []string{"h2"}},
	} {
		seen := 0
		cfg.InsecureSkipVerify = true
		cfg.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
			seen = len(raw)
			return nil
		}
		_, err := call(t.Context(), p.addr, cfg)
		if err == nil || seen != 0 {
			t.Errorf("%s: error %v, %d certificates seen, want an error and none", name, err, seen)
		}
		if err := within.Receive(t, p.errors); err == nil {
			t.Errorf("%s: refused without a reason", name)
		}
	}
	mixed := listen(t, callee.Server(mtls.ServerOptions{
		Labels: func(name string) bool { return name == label }, NextProtos: []string{proto}, Foreign: []string{"h2"},
	}))
	if _, err := call(t.Context(), mixed.addr, callee.Client(callee.ID(), "another", proto)); err == nil {
		t.Error("another name was answered in our protocol")
	}
	for name, want := range map[string]string{"another": "h2", label: proto} {
		cs, err := call(t.Context(), mixed.addr, callee.Client(callee.ID(), name, proto, "h2"))
		if err != nil || cs.NegotiatedProtocol != want {
			t.Errorf("server name %s: %q (%v), want %q", name, cs.NegotiatedProtocol, err, want)
		}
	}
	unnamed := listen(t, callee.Server(mtls.ServerOptions{NextProtos: []string{proto}}))
	if _, err := call(t.Context(), unnamed.addr, callee.Client(callee.ID(), label, proto)); err == nil {
		t.Error("a server without labels answered")
	}
}

func TestCallerTalksToTheWantedAppOnly(t *testing.T) {
	t.Parallel()
	ours, other := newCA(t, ca.Options{}), newCA(t, ca.Options{})
	caller := workload(t, ours, "todo-api", nil)
	wanted := id(t, "notification-service")
	for name, callee := range map[string]*mtls.Workload{
		"another app":                   workload(t, ours, "billing-service", nil),
		"another CA with the same name": workload(t, other, "notification-service", nil),
	} {
		p := listen(t, server(callee))
		_, err := call(t.Context(), p.addr, caller.Client(wanted, label, proto))
		e := mtls.Explain(err, wanted)
		if e == nil || e.Reason != apperr.PeerNotTrusted || e.Reached != apperr.ReachedNo || e.At() != apperr.HopTLS {
			t.Errorf("%s: %+v, want PEER_NOT_TRUSTED, not reached", name, e)
			continue
		}
		if !strings.Contains(e.Error(), callee.ID().String()) || !strings.HasPrefix(e.What, "notification-service ") {
			t.Errorf("%s: %q does not name both", name, e.Error())
		}
		// Our certificate is for the right peer only.
		if err := within.Receive(t, p.errors); !strings.Contains(err.Error(), "bad certificate") {
			t.Errorf("%s: the server's side says %v", name, err)
		}
	}
	if _, err := call(t.Context(), listen(t, server(caller)).addr, caller.Client(identity.ID{}, label, proto)); err == nil {
		t.Error("Client of nobody accepted somebody")
	}
}

func TestAnyClientLearnsWhoIsThere(t *testing.T) {
	t.Parallel()
	ours, other := newCA(t, ca.Options{}), newCA(t, ca.Options{})
	caller := workload(t, ours, "todo-api", nil)
	cs, err := call(t.Context(), listen(t, server(workload(t, ours, "billing-service", nil))).addr, caller.AnyClient(label, proto))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := mtls.PeerID(cs); got != id(t, "billing-service") {
		t.Errorf("PeerID = %s", got)
	}
	_, err = call(t.Context(), listen(t, server(workload(t, other, "billing-service", nil))).addr, caller.AnyClient(label, proto))
	if !apperr.Is(err, apperr.PeerNotTrusted) {
		t.Errorf("AnyClient to another trust domain = %v", err)
	}
}

// A certificate of our own CA that is no workload's: a URI that is not of
// Dapr's form cannot be made through the CA, so it is signed by hand.
func TestLeafWithoutAnAppIsNobody(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(t), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	root := certificate(t, template, template, key, key)
	for name, uris := range map[string][]string{
		"no URI":           nil,
		"two URIs":         {"spiffe://public/ns/default/a", "spiffe://public/ns/default/b"},
		"another form":     {"spiffe://public/todo-api"},
		"no namespace":     {"spiffe://public/ns//todo-api"},
		"the trust domain": {"spiffe://public"},
		"a web page":       {"https://public/ns/default/todo-api"},
	} {
		leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		leaf := certificate(t, &x509.Certificate{
			SerialNumber: serial(t), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			URIs: urls(t, uris), KeyUsage: x509.KeyUsageDigitalSignature,
		}, root, leafKey, key)
		p := listen(t, server(withRoots(t, root, "notification-service")))
		cfg := &tls.Config{
			ServerName: label, NextProtos: []string{proto}, InsecureSkipVerify: true,
			Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: leafKey}},
		}
		if _, err := call(t.Context(), p.addr, cfg); err == nil {
			t.Errorf("%s: was served", name)
		}
		if err := within.Receive(t, p.errors); !apperr.Is(err, apperr.PeerNotTrusted) {
			t.Errorf("%s: the server's side says %v, want PEER_NOT_TRUSTED", name, err)
		}
	}
}

func TestConnectionsAreNeverResumed(t *testing.T) {
	t.Parallel()
	c := newCA(t, ca.Options{})
	caller, callee := workload(t, c, "todo-api", nil), workload(t, c, "notification-service", nil)
	p := listen(t, server(callee))
	cfg := caller.Client(callee.ID(), label, proto)
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	cfg.SessionTicketsDisabled = false
	for range 3 {
		cs, err := call(t.Context(), p.addr, cfg)
		if err != nil || cs.DidResume {
			t.Errorf("resumed %v, %v", cs.DidResume, err)
		}
	}
}

func TestServerRefusesAnExpiredCaller(t *testing.T) {
	t.Parallel()
	c := newCA(t, ca.Options{})
	caller := workload(t, c, "todo-api", nil)
	// By the callee's clock the caller's leaf has ended; by the caller's own
	// it has not, so it is shown in good faith.
	var callees clock
	callee := workload(t, c, "notification-service", callees.now)
	callees.set(25 * time.Hour)
	p := listen(t, server(callee))
	_, err := call(t.Context(), p.addr, caller.Client(callee.ID(), label, proto))
	e := mtls.Explain(err, callee.ID())
	if e == nil || e.Reason != apperr.PeerNotTrusted || e.Reached != apperr.ReachedNo || !strings.Contains(e.Error(), "clock") {
		t.Errorf("the caller says %+v, want that it was refused, not reached, and the clocks", e)
	}
	if err := within.Receive(t, p.errors); !apperr.Is(err, apperr.CertNotValid) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("the callee says %v, want that the certificate has expired", err)
	}
}
