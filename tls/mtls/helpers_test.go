package mtls_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
	"github.com/pillion-dev/pillion/tls/sentry"
)

const (
	label = "0123456789abcdef"
	proto = "pillion/1"
)

// A clock can be set, apart from the machine's.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time                  { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) set(behindOrAhead time.Duration) { c.offset.Store(int64(behindOrAhead)) }

func newCA(t *testing.T, o ca.Options) *ca.CA {
	t.Helper()
	c, err := ca.Ephemeral(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func id(t *testing.T, app string) identity.ID {
	t.Helper()
	made, err := identity.New("public", "default", app)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// workload is an app with a leaf of c.
func workload(t *testing.T, c *ca.CA, app string, now func() time.Time) *mtls.Workload {
	t.Helper()
	w, err := mtls.NewWorkload(t.Context(), mtls.Config{ID: id(t, app), Sentry: sentry.NewLocal(c, 0), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A peer is a listener that greets who has come through, says who it was, and
// counts the bytes that reached its application.
type peer struct {
	addr   string
	bytes  atomic.Int64
	met    chan identity.ID // one for each connection whose handshake succeeded
	errors chan error       // one for each that did not
}

func listen(t *testing.T, cfg *tls.Config) *peer {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{addr: ln.Addr().String(), met: make(chan identity.ID, 1000), errors: make(chan error, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.serve(tls.Server(conn, cfg))
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		within.Receive(t, done)
	})
	return p
}

func (p *peer) serve(conn *tls.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(within.Patience))
	if err := conn.Handshake(); err != nil {
		p.errors <- err
		return
	}
	who, err := mtls.PeerID(conn.ConnectionState())
	if err != nil {
		p.errors <- err
		return
	}
	p.met <- who
	if _, err := conn.Write([]byte("hello")); err != nil {
		return
	}
	n, _ := io.Copy(io.Discard, conn)
	p.bytes.Add(n)
}

// call connects, waits for the greeting and says one byte. The error is the
// first of them that went wrong.
func call(ctx context.Context, addr string, cfg *tls.Config) (tls.ConnectionState, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	conn := tls.Client(raw, cfg)
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(within.Patience))
	if err := conn.HandshakeContext(ctx); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := io.ReadFull(conn, make([]byte, len("hello"))); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), nil
}

func server(w *mtls.Workload) *tls.Config {
	return w.Server(mtls.ServerOptions{
		Labels:     func(name string) bool { return name == label },
		NextProtos: []string{proto},
	})
}
