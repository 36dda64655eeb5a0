package mesh_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/mesh"
	"github.com/pillion-dev/pillion/tls/identity"
)

// A pipeNet joins a transport and a server without a network, so that a test
// can live on synctest's clock.
type pipeNet struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	mu     sync.Mutex
	dialed []*iceConn
}

func newPipeNet() *pipeNet {
	return &pipeNet{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (p *pipeNet) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeNet) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipeNet) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:1"))
}

func (p *pipeNet) dial(context.Context, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	ice := &iceConn{Conn: theirs, frozen: make(chan struct{}), closed: make(chan struct{})}
	p.mu.Lock()
	p.dialed = append(p.dialed, ice)
	p.mu.Unlock()
	p.conns <- ice
	return ours, nil
}

// An iceConn is a peer's end that can be frozen: it neither reads nor writes
// any more, as a stopped process.
type iceConn struct {
	net.Conn
	frozen, closed chan struct{}
	once           sync.Once
}

func (c *iceConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.frozen:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (c *iceConn) Write(p []byte) (int, error) {
	select {
	case <-c.frozen:
		return len(p), nil
	default:
		return c.Conn.Write(p)
	}
}

// Close does not reach the other end of what is frozen.
func (c *iceConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	select {
	case <-c.frozen:
		return nil
	default:
		return c.Conn.Close()
	}
}

// bubble runs f with a server that answers by h, inside synctest.
func bubble(t *testing.T, h invoke.HandlerFunc, f func(w *world, p *pipeNet, tr *mesh.Transport, s *mesh.Server, at discovery.Endpoint)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := newPipeNet()
		s := mesh.NewServer(mesh.ServerConfig{TLS: tlsServer(w.callee), Handler: h, Instance: "inst0001"})
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.Serve(ctx, p) }()
		tr := mesh.NewTransport(mesh.TransportConfig{
			TLS:  func(want identity.ID, _ discovery.Key) *tls.Config { return w.caller.Client(want, label, mesh.ALPN) },
			Dial: p.dial,
		})
		f(w, p, tr, s, endpoint(p.Addr(), "inst0001"))
		cancel()
		for _, c := range p.dialed {
			_, _ = c.Close(), c.Conn.Close()
		}
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
		_ = tr.Close()
	})
}

func TestAFrozenPeerIsFoundWithinFiveSeconds(t *testing.T) {
	t.Parallel()
	h := func(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	bubble(t, h, func(w *world, p *pipeNet, tr *mesh.Transport, s *mesh.Server, at discovery.Endpoint) {
		failed := make(chan error, 1)
		began := time.Now()
		go func() {
			_, err := tr.Send(w.t.Context(), at, w.callee.ID(), get())
			failed <- err
		}()
		synctest.Wait()
		if n := s.Inflight(); n != 1 {
			t.Errorf("%d calls are open", n)
		}
		// A peer that is only slow is asked, and answers: the call stays.
		time.Sleep(time.Minute)
		select {
		case err := <-failed:
			t.Fatalf("after %v: %v", time.Since(began), err)
		default:
		}
		close(p.dialed[0].frozen)
		frozen := time.Now()
		err := <-failed
		if took := time.Since(frozen); took > 5*time.Second {
			t.Errorf("found after %v", took)
		}
		wants(t, apperr.From(err), apperr.PeerGone, apperr.ReachedMaybe, "did not answer for 4.5s")
	})
}

func TestAFrozenCallerIsFoundToo(t *testing.T) {
	t.Parallel()
	var cause chan error // made inside the bubble
	h := func(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
		<-ctx.Done()
		cause <- callctx.Cause(ctx)
		return nil, callctx.Cause(ctx)
	}
	bubble(t, h, func(w *world, p *pipeNet, tr *mesh.Transport, s *mesh.Server, at discovery.Endpoint) {
		cause = make(chan error, 1)
		ctx, cancel := context.WithCancel(w.t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := tr.Send(ctx, at, w.callee.ID(), get())
			failed <- err
		}()
		synctest.Wait()
		// Seen from the server, a caller that says nothing is a caller that is
		// frozen: here the way between them is.
		p.dialed[0].mute()
		began := time.Now()
		if err := <-cause; !apperr.Is(err, apperr.Cancelled) || time.Since(began) > 6*time.Second {
			t.Errorf("cancelled after %v with %v", time.Since(began), err)
		}
		cancel()
		if err := <-failed; err == nil {
			t.Error("a call that was given up has an answer")
		}
	})
}

// mute stops what the caller says from arriving; the server's own writes vanish.
func (c *iceConn) mute() { close(c.frozen) }

func TestAnIdleLinkIsClosedAndTheNextCallDials(t *testing.T) {
	t.Parallel()
	h := func(context.Context, *invoke.Call) (*invoke.Answer, error) { return answer(200, ""), nil }
	bubble(t, h, func(w *world, p *pipeNet, tr *mesh.Transport, _ *mesh.Server, at discovery.Endpoint) {
		w.roundTrip(tr, at, get())
		time.Sleep(4 * time.Minute)
		w.roundTrip(tr, at, get())
		if n := len(p.dialed); n != 1 {
			t.Errorf("%d links after four minutes, want the first", n)
		}
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		if _, err := p.dialed[0].Conn.Read(make([]byte, 1)); err == nil {
			t.Error("a link is open that nobody used for minutes")
		}
		w.roundTrip(tr, at, get())
		if n := len(p.dialed); n != 2 {
			t.Errorf("%d links, want a second", n)
		}
	})
}

func TestAHandshakeThatNeverEndsIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var ends []net.Conn
		tr := mesh.NewTransport(mesh.TransportConfig{
			TLS: func(want identity.ID, _ discovery.Key) *tls.Config { return w.caller.Client(want, label, mesh.ALPN) },
			Dial: func(context.Context, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				ends = append(ends, theirs)
				return ours, nil
			},
		})
		began := time.Now()
		_, err := tr.Send(t.Context(), endpoint(newPipeNet().Addr(), "x"), w.callee.ID(), get())
		wants(t, apperr.From(err), apperr.PeerUnreachable, apperr.ReachedNo, "did not answer the handshake within 5s")
		if !errors.Is(err, context.DeadlineExceeded) { // which tells a frozen peer from one that is not there
			t.Errorf("%v is no time-out", err)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("took %v", took)
		}
		_ = tr.Close()
		for _, c := range ends {
			_ = c.Close()
		}
	})
}
