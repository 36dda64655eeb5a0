package mesh_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/mesh"
)

// wants checks what an error says, and that the call's body was closed.
func wants(t *testing.T, e *apperr.Error, reason apperr.Reason, reached apperr.Reached, says ...string) {
	t.Helper()
	if e.Reason != reason || e.Reached != reached {
		t.Errorf("%v: reason %s, reached %v; want %s, %v", e, e.Reason, e.Reached, reason, reached)
	}
	for _, part := range says {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("%q does not say %q", e, part)
		}
	}
}

func TestNobodyAtTheAddressIsProvenNotReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	port := porttest.Reserve(t)
	at := endpoint(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(port.Addr())), "gone0001")
	body := &countingBody{Body: invoke.BytesBody([]byte("x"))}
	c := call("")
	c.Body = body
	e := w.fails(w.transport(), at, c)
	wants(t, e, apperr.PeerUnreachable, apperr.ReachedNo, "callee could not be reached", port.Addr()+" refused the connection")
	if e.At() != apperr.HopNetwork || e.Instance != "gone0001" {
		t.Errorf("at %v, instance %q", e.At(), e.Instance)
	}
	if !body.closed.Load() || body.reads.Load() != 0 {
		t.Errorf("the body: closed %v, read %d times", body.closed.Load(), body.reads.Load())
	}
}

func TestTheNextAddressIsTriedWhenOneDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(echo)
	silent := netip.MustParseAddrPort("192.0.2.1:7")
	dialled := make(chan string, 4)
	tr := w.transportAs(w.caller, func(ctx context.Context, addr string) (net.Conn, error) {
		dialled <- addr
		if addr == silent.String() {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return dial(ctx, addr)
	})
	at := s.at
	at.Addrs = append([]netip.AddrPort{silent}, at.Addrs...)
	if got := w.roundTrip(tr, at, call("hi")); got != "hi" {
		t.Errorf("got %q", got)
	}
	if first, second := within(t, "an address to be dialled", dialled), within(t, "an address to be dialled", dialled); first != silent.String() || second != s.at.Addrs[0].String() {
		t.Errorf("dialled %s, then %s", first, second)
	}
	at.Addrs = []netip.AddrPort{silent, silent} // and neither does the last
	tr = w.transportAs(w.caller, func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	e := w.fails(tr, at, call("hi"))
	wants(t, e, apperr.PeerUnreachable, apperr.ReachedNo, "did not answer within 300ms", "did not answer within 1.5s")
}

func TestAPeerThatClosesBeforeItsGreetingIsProvenNotReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, serve := range map[string]func(net.Conn){
		"before the handshake": func(c net.Conn) {},
		"after the handshake": func(c net.Conn) {
			_ = tls.Server(c, tlsServer(w.callee)).Handshake()
		},
		"half a greeting": func(c net.Conn) {
			s := tls.Server(c, tlsServer(w.callee))
			_, _ = s.Write([]byte{0, 0, 50, 1, 0, 0, 0, 0, 'p', 'i'})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := w.raw(t, serve)
			e := w.fails(w.transport(), at, call("x"))
			wants(t, e, apperr.PeerUnreachable, apperr.ReachedNo, "during the handshake")
		})
	}
}

// raw gives each connection to serve, and closes it.
func (w *world) raw(t *testing.T, serve func(net.Conn)) discovery.Endpoint {
	t.Helper()
	ln := w.listen()
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				serve(conn)
			}()
		}
	}()
	return endpoint(ln.Addr(), "raw00001")
}

func TestARefusalOfTheHandlerIsProvenNotReachedAndKeepsItsWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reached := apperr.ReachedNo
	s := w.serve(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		return nil, &apperr.Error{
			Reason: apperr.AppUnreachable, What: "callee's app port is closed", Dapr: "connection refused", Cause: "a \x1b[31mcause", Hint: "start it",
			Run: []string{"pillion", "list"}, Reached: reached,
		}
	})
	tr := w.transport()
	e := w.fails(tr, s.at, call("x"))
	wants(t, e, apperr.AppUnreachable, apperr.ReachedNo, "callee's app port is closed", `a \x1b[31mcause`, "start it")
	if e.Instance != "inst0001" || e.Dapr != "connection refused" || len(e.Run) != 2 {
		t.Errorf("%+v", e)
	}
	reached = apperr.ReachedMaybe
	e = w.fails(tr, s.at, call("x"))
	wants(t, e, apperr.AppUnreachable, apperr.ReachedMaybe, "callee's app port is closed")
}

func TestAPanicOfTheHandlerEndsOneCallOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Path == "/panic" {
			panic("at the disco")
		}
		return answer(200, ""), nil
	})
	tr := w.transport()
	c := get()
	c.Path = "/panic"
	wants(t, w.fails(tr, s.at, c), apperr.Internal, apperr.ReachedMaybe, "at the disco")
	w.roundTrip(tr, s.at, get())
}

func TestABrokenLinkMayHaveReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ln := w.listen()
	conns := make(chan net.Conn, 1)
	entered := make(chan struct{})
	s := w.serveOn(&spyListener{ln, conns}, "inst0001", func(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
		close(entered)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	go func() {
		<-entered
		_ = (<-conns).Close()
	}()
	e := w.fails(w.transport(), s.at, call("x"))
	wants(t, e, apperr.PeerGone, apperr.ReachedMaybe, "the connection to callee broke", ln.Addr().String()+" closed the connection")
}

// A spyListener hands out the connections it accepts.
type spyListener struct {
	net.Listener
	conns chan net.Conn
}

func (l *spyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		select {
		case l.conns <- c:
		default:
		}
	}
	return c, err
}

func TestAnAnswerThatBreaksMidwayKeepsWhatCameAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		body, write := newPipe()
		go func() {
			_, _ = write.Write([]byte("half"))
			_ = write.CloseWithError(&apperr.Error{Reason: apperr.AppGone, What: "callee closed the connection", Reached: apperr.ReachedNo})
		}()
		return &invoke.Answer{Status: 200, Major: 1, Length: 8, Body: body}, nil
	})
	a := w.send(w.transport(), s.at, get())
	got, err := io.ReadAll(a.Body)
	if string(got) != "half" || !apperr.Is(err, apperr.AppGone) || apperr.From(err).Reached != apperr.ReachedMaybe {
		t.Errorf("answer %q, %v reached %v", got, err, apperr.From(err).Reached)
	}
}

func TestACallGivenUpIsCancelledAtTheCalleeAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entered, cancelled := make(chan struct{}, 1), make(chan error, 1)
	s := w.serve(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Verb == "GET" {
			return answer(200, ""), nil
		}
		entered <- struct{}{}
		<-ctx.Done()
		cancelled <- callctx.Cause(ctx)
		return nil, callctx.Cause(ctx)
	})
	tr := w.transport()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	body, _ := newPipe() // never ends
	c := call("")
	c.Body, c.Length = body, -1
	_, err := tr.Send(ctx, s.at, w.callee.ID(), c)
	wants(t, apperr.From(err), apperr.Cancelled, apperr.ReachedMaybe, "given up")
	if cause := within(t, "the callee's cancellation", cancelled); !apperr.Is(cause, apperr.Cancelled) {
		t.Errorf("the callee's cause = %v", cause)
	}
	if _, err := body.Read(nil); err == nil {
		t.Error("the body of a call given up is open")
	}
	until(t, "no call is open", func() bool { return s.Inflight() == 0 })
	w.roundTrip(tr, s.at, get())
}

func TestADeadlineEndsACallOnBothSides(t *testing.T) {
	t.Parallel()
	var ended atomic.Bool
	h := func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		c.Reached()
		<-ctx.Done()
		ended.Store(true)
		return nil, context.Cause(ctx)
	}
	bubble(t, h, func(w *world, _ *pipeNet, tr *mesh.Transport, s *mesh.Server, at discovery.Endpoint) {
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		defer cancel()
		c := get()
		c.Timing = &invoke.Timing{}
		_, err := tr.Send(ctx, at, w.callee.ID(), c)
		wants(t, apperr.From(err), apperr.DeadlineExceeded, apperr.ReachedMaybe)
		if c.Timing.App <= 0 {
			t.Errorf("no time in the app: %+v", *c.Timing)
		}
		synctest.Wait()
		if !ended.Load() || s.Inflight() != 0 {
			t.Errorf("ended at the callee: %v, %d calls are open there", ended.Load(), s.Inflight())
		}
	})
}

func TestACallThatIsTooLateIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var calls atomic.Int32
	s := w.serve(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		calls.Add(1)
		return answer(200, ""), nil
	})
	tr := w.transport()
	w.roundTrip(tr, s.at, get())
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("no need"))
	_, err := tr.Send(ctx, s.at, w.callee.ID(), get())
	wants(t, apperr.From(err), apperr.Cancelled, apperr.ReachedNo)
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls arrived", n)
	}
}

func TestAClosedTransportSendsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(echo)
	tr := w.transport()
	_ = tr.Close()
	e := w.fails(tr, s.at, call("x"))
	wants(t, e, apperr.PeerUnreachable, apperr.ReachedNo, "this sidecar is stopping")
	if !errors.Is(e, invoke.ErrStopping) {
		t.Errorf("%v would be tried again", e)
	}
}

func TestClosingTheTransportEndsItsCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entered := make(chan struct{})
	s := w.serve(func(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
		close(entered)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	tr := w.transport()
	go func() {
		<-entered
		_ = tr.Close()
	}()
	e := w.fails(tr, s.at, call("x"))
	wants(t, e, apperr.PeerGone, apperr.ReachedMaybe, "this sidecar is stopping")
	if !errors.Is(e, invoke.ErrStopping) {
		t.Errorf("%v would be tried again", e)
	}
	until(t, "the callee has no call", func() bool { return s.Inflight() == 0 })
}

func TestConcurrentFirstCallsShareOneDial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(echo)
	var dials atomic.Int32
	let := make(chan struct{})
	tr := w.transportAs(w.caller, func(ctx context.Context, addr string) (net.Conn, error) {
		dials.Add(1)
		<-let
		return dial(ctx, addr)
	})
	// One gives up while the others wait, and has to wait for nobody.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tr.Send(ctx, s.at, w.callee.ID(), call("x")); !apperr.Is(err, apperr.Cancelled) {
		t.Errorf("Send = %v", err)
	}
	const n = 20
	errs := make(chan error, n)
	for range n {
		go func() {
			a, err := tr.Send(t.Context(), s.at, w.callee.ID(), call("x"))
			if err == nil {
				_, err = io.ReadAll(a.Body)
			}
			errs <- err
		}()
	}
	until(t, "somebody dials", func() bool { return dials.Load() > 0 })
	close(let)
	for range n {
		if err := within(t, "the calls", errs); err != nil {
			t.Error(err)
		}
	}
	if got := dials.Load(); got != 1 {
		t.Errorf("%d dials, want 1", got)
	}
}

func TestTheWantedIdentityIsPartOfTheLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(echo)
	tr := w.transport()
	w.roundTrip(tr, s.at, call("x"))
	other := w.workload("other", 0).ID()
	_, err := tr.Send(t.Context(), s.at, other, call("x"))
	wants(t, apperr.From(err), apperr.PeerNotTrusted, apperr.ReachedNo, "other")
}
