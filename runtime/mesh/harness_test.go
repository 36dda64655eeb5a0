package mesh_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/mesh"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
	"github.com/pillion-dev/pillion/tls/sentry"
)

const label = "label.of.callee"

// patience bounds what a test waits for; it is not a measurement.
const patience = time.Minute

// A world is a trust domain with two workloads.
type world struct {
	t              testing.TB
	authority      *ca.CA
	caller, callee *mtls.Workload
}

func newWorld(t testing.TB) *world {
	t.Helper()
	authority, err := ca.Ephemeral(ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, authority: authority}
	w.caller, w.callee = w.workload("caller", 0), w.workload("callee", 0)
	return w
}

func (w *world) workload(app string, ttl time.Duration) *mtls.Workload {
	w.t.Helper()
	id, err := identity.New("public", "default", app)
	if err != nil {
		w.t.Fatal(err)
	}
	wl, err := mtls.NewWorkload(w.t.Context(), mtls.Config{ID: id, Sentry: sentry.NewLocal(w.authority, ttl)})
	if err != nil {
		w.t.Fatal(err)
	}
	return wl
}

// tlsServer is the configuration of a listener that is wl.
func tlsServer(wl *mtls.Workload) *tls.Config {
	return wl.Server(mtls.ServerOptions{
		Labels:     func(name string) bool { return name == label },
		NextProtos: []string{mesh.ALPN},
	})
}

// A callee is a running server.
type callee struct {
	*mesh.Server
	at     discovery.Endpoint
	stop   context.CancelFunc // ends Serve
	served chan error         // gets what Serve returned
}

func (w *world) serve(h invoke.HandlerFunc) *callee { return w.serveAs("inst0001", h) }

func (w *world) serveAs(instance string, h invoke.HandlerFunc) *callee {
	w.t.Helper()
	return w.serveOn(w.listen(), instance, h)
}

func (w *world) listen() net.Listener {
	w.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	return ln
}

func (w *world) serveOn(ln net.Listener, instance string, h invoke.HandlerFunc) *callee {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	c := &callee{
		Server: mesh.NewServer(mesh.ServerConfig{
			TLS: tlsServer(w.callee), Handler: h, Instance: instance, Version: "1.2.3", State: discovery.Ready,
			Expires: func() time.Time { return w.callee.Leaf().NotAfter },
		}),
		at: endpoint(ln.Addr(), instance), stop: cancel, served: make(chan error, 1),
	}
	go func() { c.served <- c.Serve(ctx, ln) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-c.served; err != nil {
			w.t.Errorf("Serve = %v", err)
		}
	})
	return c
}

func endpoint(addr net.Addr, instance string) discovery.Endpoint {
	return discovery.Endpoint{
		Key:      discovery.Key{Namespace: "default", App: "callee"},
		Instance: instance, Local: true, Source: "local",
		Addrs: []netip.AddrPort{netip.MustParseAddrPort(addr.String())},
	}
}

func (w *world) transport() *mesh.Transport {
	w.t.Helper()
	return w.transportAs(w.caller, nil)
}

func (w *world) transportAs(wl *mtls.Workload, by func(context.Context, string) (net.Conn, error)) *mesh.Transport {
	w.t.Helper()
	if by == nil {
		by = dial
	}
	t := mesh.NewTransport(mesh.TransportConfig{
		TLS: func(want identity.ID, _ discovery.Key) *tls.Config {
			return wl.Client(want, label, mesh.ALPN)
		},
		Dial:    by,
		Expires: func() time.Time { return wl.Leaf().NotAfter },
	})
	w.t.Cleanup(func() { _ = t.Close() })
	return t
}

// dial connects without the limit that a transport gives it, which a busy machine
// may take longer for.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(context.WithoutCancel(ctx), "tcp", addr)
}

// call is a small POST.
func call(body string) *invoke.Call {
	return &invoke.Call{
		Verb: "POST", Path: "/m", Major: 1, Attempt: 1,
		Fields: invoke.Fields{{Name: "Content-Type", Value: "text/plain"}},
		Body:   invoke.BytesBody([]byte(body)), Length: int64(len(body)),
	}
}

func get() *invoke.Call { return &invoke.Call{Verb: "GET", Path: "/m", Major: 1, Attempt: 1} }

func answer(status int, body string) *invoke.Answer {
	return &invoke.Answer{Status: status, Major: 1, Body: invoke.BytesBody([]byte(body)), Length: int64(len(body))}
}

// echo answers with the request's body, streaming both ways.
func echo(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
	if c.Body == nil {
		return answer(200, ""), nil
	}
	return &invoke.Answer{Status: 200, Major: 1, Length: -1, Body: c.Body}, nil
}

// send makes a call that has to succeed.
func (w *world) send(tr *mesh.Transport, at discovery.Endpoint, c *invoke.Call) *invoke.Answer {
	w.t.Helper()
	a, err := tr.Send(w.t.Context(), at, w.callee.ID(), c)
	if err != nil {
		w.t.Fatalf("Send = %v", err)
	}
	return a
}

// roundTrip makes a call that has to succeed and returns the answer's body.
func (w *world) roundTrip(tr *mesh.Transport, at discovery.Endpoint, c *invoke.Call) string {
	w.t.Helper()
	a := w.send(tr, at, c)
	got, err := io.ReadAll(a.Body)
	if err != nil {
		w.t.Fatalf("read the answer: %v", err)
	}
	_ = a.Body.Close()
	return string(got)
}

// fails makes a call that has to fail.
func (w *world) fails(tr *mesh.Transport, at discovery.Endpoint, c *invoke.Call) *apperr.Error {
	w.t.Helper()
	a, err := tr.Send(w.t.Context(), at, w.callee.ID(), c)
	if err == nil {
		_ = a.Body.Close()
		w.t.Fatalf("Send = %d, want an error", a.Status)
	}
	var e *apperr.Error
	if !errors.As(err, &e) {
		w.t.Fatalf("Send = %T %v, want an *apperr.Error", err, err)
	}
	return e
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// within receives from ch, or fails.
func within[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
		panic("unreachable")
	}
}

// A pipeBody is a body that a test writes. Its Close releases a Read.
type pipeBody struct {
	*io.PipeReader
	trailers invoke.Fields
}

func newPipe() (*pipeBody, *io.PipeWriter) {
	r, w := io.Pipe()
	return &pipeBody{PipeReader: r}, w
}

func (b *pipeBody) Trailers() invoke.Fields { return b.trailers }

func pattern(n, seed int) []byte {
	return bytes.Repeat([]byte{byte(seed), byte(seed >> 8), 'x', byte(n)}, n/4+1)[:n]
}
