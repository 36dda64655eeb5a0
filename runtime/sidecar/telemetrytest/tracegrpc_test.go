package telemetrytest_test

import (
	"context"
	"encoding/hex"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

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
	conn, err := grpc.NewClient("passthrough:///"+p.caller.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p.client = health.NewHealthClient(conn)
	return p
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
