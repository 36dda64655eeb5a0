package daprmesh_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalsv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/daprmesh"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// patience bounds every wait.
const patience = time.Minute

func id(t testing.TB, app string) identity.ID {
	t.Helper()
	one, err := identity.New("public", "default", app)
	if err != nil {
		t.Fatal(err)
	}
	return one
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// counted is a listener that counts what it has accepted.
type counted struct {
	net.Listener
	n *atomic.Int64
}

func (c counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

// serve runs a Server for h, and is its address.
func serve(t testing.TB, ln net.Listener, h invoke.HandlerFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	server := daprmesh.NewServer(daprmesh.ServerConfig{Handler: h})
	go func() { done <- server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

type caller struct {
	t *testing.T
	*daprmesh.Transport
	to discovery.Endpoint
}

func newCaller(t *testing.T, addr net.Addr) caller {
	t.Helper()
	transport := daprmesh.NewTransport(daprmesh.TransportConfig{Self: id(t, "web")})
	t.Cleanup(func() { _ = transport.Close() })
	return caller{t, transport, discovery.Endpoint{
		Key: discovery.Key{Namespace: "default", App: "orders"}, Addrs: []netip.AddrPort{addr.(*net.TCPAddr).AddrPort()}, ClearText: true,
	}}
}

// send makes a call and reads its answer.
func (c caller) send(ctx context.Context, body string) (*invoke.Answer, string, error) {
	call := &invoke.Call{
		Target: invoke.Target{App: "orders", Given: "orders"}, Verb: http.MethodPost, Path: "/a", Major: 1,
		Body: invoke.BytesBody([]byte(body)), Length: int64(len(body)),
	}
	answer, err := c.Send(ctx, c.to, id(c.t, "orders"), call)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = answer.Body.Close() }() // read to its end or broken
	data, err := io.ReadAll(answer.Body)
	return answer, string(data), err
}

func echo(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
	var data []byte
	if c.Body != nil {
		var err error
		if data, err = io.ReadAll(c.Body); err != nil {
			return nil, err
		}
	}
	return &invoke.Answer{Status: 200, Major: 1, Body: invoke.BytesBody(data), Length: int64(len(data))}, nil
}

// What went wrong at a sidecar of ours is known at ours, and in Dapr's words at
// an official one.
func TestErrorsCross(t *testing.T) {
	t.Parallel()
	for reason, want := range map[apperr.Reason]codes.Code{
		apperr.Refused: codes.Unavailable, apperr.AccessDenied: codes.PermissionDenied, apperr.NamespaceDenied: codes.PermissionDenied,
		apperr.AppUnreachable: codes.Internal, apperr.AppHasNoPort: codes.Internal, apperr.BodyTooLarge: codes.ResourceExhausted,
		apperr.DeadlineExceeded: codes.DeadlineExceeded,
	} {
		given := &apperr.Error{Reason: reason, What: "it went wrong", Cause: "for a reason", Reached: apperr.ReachedNo}
		ln := listen(t)
		serve(t, ln, func(context.Context, *invoke.Call) (*invoke.Answer, error) { return nil, given })
		_, _, err := newCaller(t, ln.Addr()).send(t.Context(), "data")
		got, ok := errors.AsType[*apperr.Error](err)
		if !ok || got.Reason != reason || got.Reached != apperr.ReachedNo || !strings.Contains(got.Message(), "it went wrong") {
			t.Errorf("%s: ours gets %v", reason, err)
		}
		conn, err := grpc.NewClient("passthrough:///"+ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = internalsv1.NewServiceInvocationClient(conn).CallLocal(t.Context(), &internalsv1.InternalInvokeRequest{
			Ver: 1, Message: &commonv1.InvokeRequest{Method: "a", HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_GET}},
		})
		if status.Code(err) != want || !strings.Contains(err.Error(), "it went wrong") {
			t.Errorf("%s: an official one gets %v, want %v", reason, err, want)
		}
	}
}

// Many first calls at once share one connection, and the time a caller has left
// crosses.
func TestOneConnectionIsShared(t *testing.T) {
	t.Parallel()
	var accepted atomic.Int64
	ln := listen(t)
	serve(t, counted{ln, &accepted}, func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if _, limited := ctx.Deadline(); !limited {
			return nil, errors.New("the call has no limit")
		}
		return echo(ctx, c)
	})
	c := newCaller(t, ln.Addr())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var calls sync.WaitGroup
	for range 64 {
		calls.Go(func() {
			if a, text, err := c.send(ctx, "data"); err != nil || a.Status != 200 || text != "data" {
				t.Errorf("%v %q %v", a, text, err)
			}
		})
	}
	calls.Wait()
	if n := accepted.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// relay hands the connections of one listener, which stays, to the server of the
// moment.
type relay struct {
	net.Listener
	conns chan net.Conn
	gone  chan struct{}
	once  sync.Once
}

func (r *relay) Accept() (net.Conn, error) {
	select {
	case c := <-r.conns:
		return c, nil
	case <-r.gone:
		return nil, net.ErrClosed
	}
}

func (r *relay) Close() error { r.once.Do(func() { close(r.gone) }); return nil }

// told is a listener that says when it is closed.
type told struct {
	net.Listener
	gone chan struct{}
	once sync.Once
}

func (l *told) Close() error {
	l.once.Do(func() { close(l.gone) })
	return l.Listener.Close()
}

// slow is an official sidecar whose calls wait.
type slow struct {
	internalsv1.UnimplementedServiceInvocationServer
	n       atomic.Int64
	entered chan struct{}
	release chan struct{}
}

func (s *slow) CallLocalStream(stream internalsv1.ServiceInvocation_CallLocalStreamServer) error {
	for {
		if _, err := stream.Recv(); err != nil {
			break
		}
	}
	s.n.Add(1)
	s.entered <- struct{}{}
	select {
	case <-s.release:
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	return stream.Send(&internalsv1.InternalInvokeResponseStream{Response: &internalsv1.InternalInvokeResponse{
		Status: &internalsv1.Status{Code: 200}, Message: &commonv1.InvokeResponse{},
	}})
}

// A peer that leaves while it is called: what is under way ends well, and what
// comes goes to the connection after it, each once.
func TestAPeerThatLeavesLosesNoCall(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	conns := make(chan net.Conn)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			select {
			case conns <- c:
			case <-t.Context().Done():
				_ = c.Close()
			}
		}
	}()
	sidecar := &slow{entered: make(chan struct{}, 1000), release: make(chan struct{})}
	var serving sync.WaitGroup
	begin := func() (*grpc.Server, *relay) {
		server, in := grpc.NewServer(), &relay{Listener: ln, conns: conns, gone: make(chan struct{})}
		internalsv1.RegisterServiceInvocationServer(server, sidecar)
		serving.Go(func() { _ = server.Serve(in) }) // Stop ends it
		return server, in
	}
	first, in := begin()
	c := newCaller(t, ln.Addr())
	held := make(chan error, 1)
	go func() { _, _, err := c.send(context.WithoutCancel(t.Context()), "data"); held <- err }()
	<-sidecar.entered
	leaving := make(chan struct{})
	go func() { first.GracefulStop(); close(leaving) }()
	<-in.gone // it accepts no more
	second, _ := begin()
	var calls sync.WaitGroup
	for range 32 {
		calls.Go(func() {
			if a, _, err := c.send(t.Context(), "data"); err != nil || a.Status != 200 {
				t.Errorf("while it leaves: %v %v", a, err)
			}
		})
	}
	for range 32 {
		<-sidecar.entered
	}
	close(sidecar.release)
	calls.Wait()
	if err := <-held; err != nil {
		t.Errorf("what was under way: %v", err)
	}
	<-leaving
	if n := sidecar.n.Load(); n != 33 {
		t.Errorf("%d calls for 33", n)
	}
	second.Stop()
	serving.Wait()
}

// Close ends what is under way, on connections that take no more calls too.
// Calls that closing ends, and those that come later, say why.
func TestClosingTheTransportEndsItsCalls(t *testing.T) {
	t.Parallel()
	ln, entered := listen(t), make(chan struct{})
	serve(t, ln, func(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
		close(entered)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	c := newCaller(t, ln.Addr())
	go func() {
		<-entered
		_ = c.Close()
	}()
	for _, want := range []apperr.Reason{apperr.PeerGone, apperr.PeerUnreachable} {
		_, _, err := c.send(t.Context(), "x")
		if e := apperr.From(err); e.Reason != want || e.Cause != "this sidecar is stopping" || !errors.Is(err, invoke.ErrStopping) {
			t.Errorf("%+v, want %s", e, want)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	sidecar := &slow{entered: make(chan struct{}, 2), release: make(chan struct{})}
	server, done, gone := grpc.NewServer(), make(chan struct{}), make(chan struct{})
	internalsv1.RegisterServiceInvocationServer(server, sidecar)
	go func() {
		_ = server.Serve(&told{Listener: ln, gone: gone}) // Stop ends it
		close(done)
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	c := newCaller(t, ln.Addr())
	held := make(chan error, 1)
	go func() { _, _, err := c.send(context.WithoutCancel(t.Context()), "data"); held <- err }()
	<-sidecar.entered
	go server.GracefulStop()
	<-gone // the peer leaves
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-held; err == nil {
		t.Error("the call under way ended well")
	}
	_, _, err := c.send(t.Context(), "data")
	if !apperr.Is(err, apperr.PeerUnreachable) {
		t.Errorf("after Close: %v", err)
	}
}

// What a peer sends out of order is its error, not the caller's.
func TestAPeerThatBreaksTheProtocol(t *testing.T) {
	t.Parallel()
	head := &internalsv1.InternalInvokeResponse{Status: &internalsv1.Status{Code: 200}, Message: &commonv1.InvokeResponse{}}
	payload := func(seq uint64) *commonv1.StreamPayload {
		return &commonv1.StreamPayload{Data: bytes.Repeat([]byte("a"), 10), Seq: seq}
	}
	for want, messages := range map[string][]*internalsv1.InternalInvokeResponseStream{
		"its answer has no message":                    nil,
		"does not contain the required fields":         {{Payload: payload(0)}},
		"invalid sequence number received":             {{Response: head, Payload: payload(0)}, {Payload: payload(2)}},
		"response metadata found in non-leading chunk": {{Response: head}, {Response: head}},
	} {
		ln := listen(t)
		server, done := grpc.NewServer(), make(chan struct{})
		internalsv1.RegisterServiceInvocationServer(server, said(messages))
		go func() {
			_ = server.Serve(ln) // Stop ends it
			close(done)
		}()
		t.Cleanup(func() { server.Stop(); <-done })
		_, _, err := newCaller(t, ln.Addr()).send(t.Context(), "data")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	// Something else altogether.
	ln := listen(t)
	other := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: patience, Protocols: new(http.Protocols)}
	other.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan struct{})
	go func() {
		_ = other.Serve(ln) // Close ends it
		close(ended)
	}()
	t.Cleanup(func() { _ = other.Close(); <-ended })
	if _, _, err := newCaller(t, ln.Addr()).send(t.Context(), "data"); !apperr.Is(err, apperr.ProtocolError) || !strings.Contains(err.Error(), "404") {
		t.Errorf("a web server: %v", err)
	}
}

// answers are an official sidecar that says these messages.
type answers struct {
	internalsv1.UnimplementedServiceInvocationServer
	messages []*internalsv1.InternalInvokeResponseStream
}

func said(messages []*internalsv1.InternalInvokeResponseStream) answers {
	return answers{messages: messages}
}

func (a answers) CallLocalStream(stream internalsv1.ServiceInvocation_CallLocalStreamServer) error {
	for {
		if _, err := stream.Recv(); err != nil {
			break
		}
	}
	for _, m := range a.messages {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}
