package meshtest_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalsv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/tls/ca"
)

// authority is that of the machine's home.
func (m *machine) authority(t *testing.T) *ca.CA {
	t.Helper()
	m.must("init")
	authority, err := ca.Open(filepath.Join(m.home, "certs"), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// dialAs is a connection of an official sidecar: it names no label, and speaks
// HTTP/2. Without an authority it has no certificate.
func dialAs(t *testing.T, addr string, authority *ca.CA, app string) *grpc.ClientConn {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, VerifyConnection: func(cs tls.ConnectionState) error {
		if got := cs.PeerCertificates[0].URIs[0].String(); got != "spiffe://public/ns/default/orders" {
			t.Errorf("the callee is %s", got)
		}
		return nil
	}}
	if authority != nil {
		leaf := certified(t, authority, app)
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return leaf, nil }
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// An official sidecar calls ours by mutual TLS, in its own protocol: who it is,
// is what its certificate says, for the app and for the rules. Apps of pillion
// call the same sidecar in theirs.
func TestDaprCallsByMutualTLS(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	ours := m.authority(t)
	theirs, err := ca.Ephemeral(ca.Options{TrustDomain: ours.TrustDomain()})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	served := 0
	port := httpApp(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		served++
		mu.Unlock()
		for _, name := range []string{"Dapr-Caller-App-Id", "Dapr-Caller-Namespace"} {
			w.Header()["Got-"+name] = r.Header[name]
		}
		_ = json.NewEncoder(w).Encode(echo{Name: "orders"}) // the caller has gone: nobody to tell
	})
	rules := filepath.Join(m.dir, "rules.yaml")
	if err := os.WriteFile(rules, []byte(`apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: rules}
spec:
  accessControl:
    defaultAction: deny
    trustDomain: public
    policies:
    - {appId: web, defaultAction: allow, trustDomain: public, namespace: default}
    - {appId: safe, defaultAction: allow, trustDomain: public, namespace: default}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	sidecar := m.clear("orders", "--enable-mtls", "--app-port", port, "--config", rules)
	claims := []string{"dapr-caller-app-id", "web", "dapr-caller-namespace", "kube-system"}
	web := dialAs(t, sidecar.mesh, ours, "web")
	out, got, err := callStream(limited(t), web, head("a", "", commonv1.HTTPExtension_PUT, claims...), bytes.Repeat([]byte("0123456789abcdef"), 1000))
	if err != nil || out.GetStatus().GetCode() != 200 || !strings.Contains(string(got), "orders") {
		t.Fatalf("%v %q %v", out, got, err)
	}
	if app, namespace := fieldOf(out, "got-dapr-caller-app-id"), fieldOf(out, "got-dapr-caller-namespace"); app != "web" || namespace != "default" {
		t.Errorf("the caller is %s of %s, want what its certificate says", app, namespace)
	}
	if _, err := internalsv1.NewServiceInvocationClient(web).CallLocal(limited(t), head("a", "", commonv1.HTTPExtension_GET)); err != nil {
		t.Errorf("CallLocal: %v", err)
	}
	_, safe := m.caller("safe")
	if r := safe.get("/v1.0/invoke/orders/method/a"); !r.ok() {
		t.Errorf("an app of pillion run: %v", r)
	}
	mu.Lock()
	before := served
	mu.Unlock()
	_, _, err = callStream(limited(t), dialAs(t, sidecar.mesh, ours, "shop"), head("a", "", commonv1.HTTPExtension_PUT, claims...), nil)
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("one that the rules do not allow, and that claims another name: %v", err)
	}
	for name, conn := range map[string]*grpc.ClientConn{
		"no certificate":    dialAs(t, sidecar.mesh, nil, ""),
		"another authority": dialAs(t, sidecar.mesh, theirs, "web"),
	} {
		if _, _, err := callStream(limited(t), conn, head("a", "", commonv1.HTTPExtension_PUT), nil); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if served != before {
		t.Errorf("the app was given %d calls that it was not to be given", served-before)
	}
}

// `pillion run` speaks no other protocol than its own, and shows its certificate
// to nobody who asks for one.
func TestDaprIsAStrangerToPillionRun(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	ours := m.authority(t)
	m.app("orders")
	at := m.instances("orders")[0].MeshAddresses[0]
	conn := dialAs(t, at, ours, "web")
	if _, _, err := callStream(limited(t), conn, head("a", "", commonv1.HTTPExtension_PUT), nil); status.Code(err) != codes.Unavailable {
		t.Errorf("a call: %v", err)
	}
	m.untouched()
}

// secureServer is grpcServer of a sidecar with the certificate of app, at addr.
// It takes callers of the authority, and notes who they are.
func secureServer(t *testing.T, authority *ca.CA, app, addr string, register func(s *grpc.Server)) (at string, callers func() string, stop func()) {
	t.Helper()
	var mu sync.Mutex
	seen := ""
	roots := x509.NewCertPool()
	for _, root := range authority.Roots() {
		roots.AddCert(root)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{*certified(t, authority, app)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots,
		MinVersion: tls.VersionTLS13, VerifyConnection: func(cs tls.ConnectionState) error {
			mu.Lock()
			defer mu.Unlock()
			seen = cs.PeerCertificates[0].URIs[0].String()
			return nil
		},
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	register(server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln) // Stop ends it
	}()
	stop = sync.OnceFunc(func() { server.Stop(); <-done })
	t.Cleanup(stop)
	return ln.Addr().String(), func() string { mu.Lock(); defer mu.Unlock(); return seen }, stop
}

// Ours calls an official sidecar by mutual TLS, given by its address, with its
// name or without; what has another name there is not called.
func TestOurDoorsCallDaprByMutualTLS(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	ours := m.authority(t)
	register := func(s *grpc.Server) {
		internalsv1.RegisterServiceInvocationServer(s, daprd{})
		grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	}
	named, callers, _ := secureServer(t, ours, "named", "127.0.0.1:0", register)
	unnamed, _, _ := secureServer(t, ours, "unnamed", "127.0.0.1:0", register)
	impostor, heard, _ := secureServer(t, ours, "impostor", "127.0.0.1:0", register)
	caller := m.clear("web", "--enable-mtls", "--peer", "named="+named, "--peer", unnamed, "--peer", "wanted="+impostor)
	r := caller.sized("PUT", "/v1.0/invoke/named/method/a?q=1", "data", "X-One", "1")
	if !r.ok() || string(r.body) != "data" || r.header.Get("X-Caller") != "web" || r.header.Get("X-Verb") != "PUT a q=1" {
		t.Errorf("%v %v", r, r.header)
	}
	if got := callers(); got != "spiffe://public/ns/default/web" {
		t.Errorf("the caller is %s", got)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 10<<16)
	if r := caller.call("POST", "/v1.0/invoke/named/method/a", "", bytes.NewReader(large)); !r.ok() || !bytes.Equal(r.body, large) {
		t.Errorf("10 MiB: %d, %d bytes, %v", r.status, len(r.body), r.err)
	}
	if _, err := grpc_health_v1.NewHealthClient(caller.api).Check(metadata.AppendToOutgoingContext(limited(t), "dapr-app-id", "named"), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("an exchange: %v", err)
	}
	until(t, "who is at an address is learnt", func() bool { return caller.get("/v1.0/invoke/unnamed/method/a").ok() })
	r = caller.get("/v1.0/invoke/wanted/method/a")
	if message, _ := r.failure(); r.status != 500 || !strings.Contains(message, "impostor") {
		t.Errorf("a sidecar of another name: %v", r)
	}
	if got := heard(); got != "" {
		t.Errorf("it has been told who calls: %s", got)
	}
	r = caller.call("GET", "/v1.0/invoke/named/method/a", "", nil, "Connection", "Upgrade", "Upgrade", "websocket")
	if r.err == nil && !strings.Contains(string(r.body), "which has no upgrades") {
		t.Errorf("an upgrade: %v", r)
	}
}

// A peer's address may change hands from one protocol to the other.
func TestAPeerIsCalledInTheProtocolItHasNow(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	ours := m.authority(t)
	port := porttest.Reserve(t).String() // it is opened again and again
	at := net.JoinHostPort("127.0.0.1", port)
	app := httpApp(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Verb", "pillion") })
	if err := os.WriteFile(filepath.Join(m.home, "config.yaml"), []byte("discovery: [static]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	caller := m.clear("web", "--enable-mtls", "--peer", "orders="+at)
	calls := func(verb string) {
		t.Helper()
		until(t, "the answer is "+verb+"'s", func() bool {
			r := caller.call("GET", "/v1.0/invoke/orders/method/a", "", nil)
			return r.ok() && strings.HasPrefix(r.header.Get("X-Verb"), verb)
		})
	}
	register := func(s *grpc.Server) { internalsv1.RegisterServiceInvocationServer(s, daprd{}) }
	for range 2 {
		_, _, stop := secureServer(t, ours, "orders", at, register)
		calls("GET")
		stop()
		sidecar := m.beside().clear("orders", "--enable-mtls", "--app-port", app, "--dapr-internal-grpc-port", port)
		calls("pillion")
		sidecar.stop()
	}
}
