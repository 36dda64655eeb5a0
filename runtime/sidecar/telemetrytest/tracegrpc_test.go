package telemetrytest_test

import (
	"context"
	"encoding/hex"
	"sync"
	"testing"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
)

// A grpcApp answers health checks: of the service "lost" with an error, of any
// other as it is asked.
type grpcApp struct {
	health.UnimplementedHealthServer
	port uint16
	mu   sync.Mutex // guards what follows
	got  metadata.MD
}

func newGRPCApp(t *testing.T) *grpcApp {
	t.Helper()
	ln, port := listen(t)
	a := &grpcApp{port: port}
	srv := grpc.NewServer()
	health.RegisterHealthServer(srv, a)
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) }) // until Stop
	t.Cleanup(func() { srv.Stop(); serving.Wait() })
	return a
}

func (a *grpcApp) note(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got, _ = metadata.FromIncomingContext(ctx)
}

func (a *grpcApp) metadata() metadata.MD {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got
}

func (a *grpcApp) Check(ctx context.Context, r *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	a.note(ctx)
	if r.GetService() == "lost" {
		return nil, status.Error(codes.NotFound, "it is lost")
	}
	return &health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}, nil
}

func (a *grpcApp) Watch(_ *health.HealthCheckRequest, stream grpc.ServerStreamingServer[health.HealthCheckResponse]) error {
	a.note(stream.Context())
	for range 3 {
		if err := stream.Send(&health.HealthCheckResponse{Status: health.HealthCheckResponse_SERVING}); err != nil {
			return err
		}
	}
	return nil
}

// A grpcPair is a caller's sidecar and one with an app that speaks gRPC.
type grpcPair struct {
	app            *grpcApp
	caller, callee *side
	client         health.HealthClient
}

func newGRPCPair(t *testing.T, environ ...string) *grpcPair {
	t.Helper()
	m := newMachine(t)
	p := &grpcPair{app: newGRPCApp(t)}
	p.callee = m.run(config.Sidecar{AppID: "notes", AppPort: p.app.port, AppProtocol: "grpc"}, environ...)
	p.caller = m.run(config.Sidecar{AppID: "todo-api"}, environ...)
	p.client = health.NewHealthClient(dialGRPC(t, p.caller.grpc))
	return p
}

func dialGRPC(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// binary is a grpc-trace-bin.
func binary(t *testing.T, trace, id string, flags byte) string {
	t.Helper()
	b, err := hex.DecodeString("0000" + trace + "01" + id + "02")
	if err != nil {
		t.Fatal(err)
	}
	return string(append(b, flags))
}

func TestAGRPCTraceTravelsInBothForms(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := newGRPCPair(t, c.otlp("grpc")...)
	other := "00-11111111111111111111111111111111-2222222222222222-01"
	for _, one := range []struct {
		name  string
		pairs []string
	}{
		{"the binary form", []string{"grpc-trace-bin", binary(t, givenTrace, givenSpan, 1)}},
		{"the text form", []string{"traceparent", given, "tracestate", "a=1"}},
		{"the binary form before the text", []string{"traceparent", other, "grpc-trace-bin", binary(t, givenTrace, givenSpan, 1)}},
	} {
		before := len(c.spans())
		ctx := metadata.AppendToOutgoingContext(within.Context(t), append([]string{"dapr-app-id", "notes", "dapr-x", "y"}, one.pairs...)...)
		if _, err := p.client.Check(ctx, &health.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
		c.await(t, before+2)
		var first, second span
		for _, s := range c.spans()[before:] {
			if s.service == "todo-api" {
				first = s
			} else {
				second = s
			}
		}
		if first.trace != givenTrace || first.parent != givenSpan || second.trace != givenTrace || second.parent != first.id {
			t.Errorf("%s: %+v, %+v", one.name, first, second)
		}
		const method = "/grpc.health.v1.Health/Check"
		if first.name != method || second.name != method || first.kind != "SPAN_KIND_CLIENT" || second.kind != "SPAN_KIND_SERVER" {
			t.Errorf("%s: spans %s %s and %s %s", one.name, first.kind, first.name, second.kind, second.name)
		}
		wantAttributes(t, first, map[string]string{"dapr.protocol": "grpc", "dapr.api": method, "rpc.grpc.status_code": "0", "dapr-x": "y"})
		got := p.app.metadata()
		if text := got.Get("traceparent"); len(text) != 1 || text[0] != "00-"+givenTrace+"-"+second.id+"-01" {
			t.Errorf("%s: the app gets traceparent %q", one.name, text)
		}
		if bin := got.Get("grpc-trace-bin"); len(bin) != 1 || bin[0] != binary(t, givenTrace, second.id, 1) {
			t.Errorf("%s: the app gets grpc-trace-bin %x", one.name, bin)
		}
	}
}

func TestAGRPCErrorIsAFailedSpan(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := newGRPCPair(t, c.otlp("grpc")...)
	ctx := metadata.AppendToOutgoingContext(within.Context(t), "dapr-app-id", "notes")
	if _, err := p.client.Check(ctx, &health.HealthCheckRequest{Service: "lost"}); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	for service, s := range c.await(t, 2) {
		if !s.failed || s.message != "it is lost" || s.attributes["rpc.grpc.status_code"] != "5" {
			t.Errorf("%s: %+v", service, s)
		}
	}
}

func TestAGRPCStreamIsOneSpanAtEachSide(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := newGRPCPair(t, c.otlp("grpc")...)
	ctx := metadata.AppendToOutgoingContext(within.Context(t), "dapr-app-id", "notes")
	stream, err := p.client.Watch(ctx, &health.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stream.Recv(); err == nil {
		t.Fatal("the stream does not end")
	}
	by := c.await(t, 2)
	if by["notes"].parent != by["todo-api"].id || by["notes"].attributes["rpc.grpc.status_code"] != "0" {
		t.Errorf("the spans are %+v", by)
	}
}

func TestWithoutTracingGRPCMetadataIsRelayed(t *testing.T) {
	t.Parallel()
	p := newGRPCPair(t)
	bin := binary(t, givenTrace, givenSpan, 1)
	ctx := metadata.AppendToOutgoingContext(within.Context(t), "dapr-app-id", "notes", "grpc-trace-bin", bin, "traceparent", given)
	if _, err := p.client.Check(ctx, &health.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	got := p.app.metadata()
	if all := got.Get("grpc-trace-bin"); len(all) != 1 || all[0] != bin {
		t.Errorf("the app gets grpc-trace-bin %x", all)
	}
	if all := got.Get("traceparent"); len(all) != 1 || all[0] != given {
		t.Errorf("the app gets traceparent %q", all)
	}
}

func TestDaprsOwnServiceIsTraced(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := newPair(t, nil, c.otlp("grpc")...)
	client := runtimev1.NewDaprClient(dialGRPC(t, p.caller.grpc))
	ctx := metadata.AppendToOutgoingContext(within.Context(t), "grpc-trace-bin", binary(t, givenTrace, givenSpan, 1))
	var head metadata.MD
	if _, err := client.GetMetadata(ctx, &runtimev1.GetMetadataRequest{}, grpc.Header(&head)); err != nil {
		t.Fatal(err)
	}
	s := c.await(t, 1)["todo-api"]
	const method = "/dapr.proto.runtime.v1.Dapr/GetMetadata"
	if s.name != method || s.parent != givenSpan || s.trace != givenTrace {
		t.Errorf("the span is %+v", s)
	}
	wantAttributes(t, s, map[string]string{"dapr.protocol": "grpc", "dapr.api": method, "rpc.grpc.status_code": "0"})
	if got := head.Get("grpc-trace-bin"); len(got) != 1 || got[0] != binary(t, givenTrace, s.id, 1) {
		t.Errorf("the answer says %x", got)
	}
}

// InvokeService's caller gets one span at each side, as any other.
func TestInvokeServiceIsTraced(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := newPair(t, nil, c.otlp("grpc")...)
	client := runtimev1.NewDaprClient(dialGRPC(t, p.caller.grpc))
	ctx := metadata.AppendToOutgoingContext(within.Context(t), "grpc-trace-bin", binary(t, givenTrace, givenSpan, 1))
	var head metadata.MD
	answer, err := client.InvokeService(ctx, &runtimev1.InvokeServiceRequest{Id: "notes", Message: &commonv1.InvokeRequest{
		Method: "notify", HttpExtension: &commonv1.HTTPExtension{Verb: commonv1.HTTPExtension_POST},
	}}, grpc.Header(&head))
	if err != nil || string(answer.GetData().GetValue()) != "hello" {
		t.Fatal(answer, err)
	}
	by := c.await(t, 2)
	first, second := by["todo-api"], by["notes"]
	if first.parent != givenSpan || second.parent != first.id || first.name != "CallLocal/notes/notify" || second.name != first.name {
		t.Errorf("the spans are %+v, %+v", first, second)
	}
	wantAttributes(t, first, map[string]string{
		"dapr.protocol": "grpc", "dapr.api": "/dapr.proto.runtime.v1.Dapr/InvokeService", "net.peer.name": "notes",
	})
	if got := p.app.fields().Get("Traceparent"); got != "00-"+givenTrace+"-"+second.id+"-01" {
		t.Errorf("the app gets %s", got)
	}
	if got := head.Get("grpc-trace-bin"); len(got) != 1 || got[0] != binary(t, givenTrace, first.id, 1) {
		t.Errorf("the answer says %x", got)
	}
	p.caller.end()
	p.callee.end()
	if all := c.spans(); len(all) != 2 {
		t.Errorf("there are more spans: %+v", all)
	}
}

// An app that speaks gRPC gets the trace in both forms from a caller over HTTP.
func TestAGRPCAppIsTracedByOnInvoke(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	m := newMachine(t)
	ln, port := listen(t)
	got := make(chan metadata.MD, 1)
	srv := grpc.NewServer()
	runtimev1.RegisterAppCallbackServer(srv, onInvoked{got: got})
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) }) // until Stop
	t.Cleanup(func() { srv.Stop(); serving.Wait() })
	m.run(config.Sidecar{AppID: "notes", AppPort: port, AppProtocol: "grpc"}, c.otlp("grpc")...)
	caller := m.run(config.Sidecar{AppID: "todo-api"}, c.otlp("grpc")...)
	answer, text := ask(t, "POST", "http://"+caller.door+"/v1.0/invoke/notes/method/x", "hi", "traceparent", given)
	if answer.StatusCode != 200 || text != "invoked" {
		t.Fatalf("%s %q", answer.Status, text)
	}
	by := c.await(t, 2)
	md := within.Receive(t, got)
	if text := md.Get("traceparent"); len(text) != 1 || text[0] != "00-"+givenTrace+"-"+by["notes"].id+"-01" {
		t.Errorf("the app gets traceparent %q, %+v", text, by)
	}
	if bin := md.Get("grpc-trace-bin"); len(bin) != 1 || bin[0] != binary(t, givenTrace, by["notes"].id, 1) {
		t.Errorf("the app gets grpc-trace-bin %x", bin)
	}
}

type onInvoked struct {
	runtimev1.UnimplementedAppCallbackServer
	got chan metadata.MD
}

func (o onInvoked) OnInvoke(ctx context.Context, _ *commonv1.InvokeRequest) (*commonv1.InvokeResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	o.got <- md
	return &commonv1.InvokeResponse{Data: &anypb.Any{Value: []byte("invoked")}, ContentType: "text/plain"}, nil
}
