package h2_test

import (
	"context"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func healthServer() (*grpc.Server, *health.Server) {
	srv, h := grpc.NewServer(), health.NewServer()
	healthpb.RegisterHealthServer(srv, h)
	return srv, h
}

func grpcClient(t *testing.T, addr string) healthpb.HealthClient {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return healthpb.NewHealthClient(cc)
}

// grpc-go's own server runs behind ours.
func TestGRPCsServerBehindOurEngine(t *testing.T) {
	t.Parallel()
	srv, h := healthServer()
	defer srv.Stop()
	st := serve(t, func(ctx *callctx.Context, s *h2.Stream) { h2.ServeHTTP(ctx, s, srv, nil) })
	c := grpcClient(t, st.addr)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := c.Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || res.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("Check = %v, %v", res, err)
	}
	if _, err = c.Check(ctx, &healthpb.HealthCheckRequest{Service: "unknown"}); status.Code(err) != codes.NotFound {
		t.Errorf("unknown: %v", err)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := c.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// A stream: what is sent comes at once, and cancelling ends it.
	watching, stop := context.WithCancel(ctx)
	stream, err := c.Watch(watching, &healthpb.HealthCheckRequest{Service: "s"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{
		healthpb.HealthCheckResponse_SERVICE_UNKNOWN, healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING,
	} {
		if want != healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
			h.SetServingStatus("s", want)
		}
		if got, err := stream.Recv(); err != nil || got.GetStatus() != want {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
	stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

func TestOurClientAndGRPCsServer(t *testing.T) {
	t.Parallel()
	srv, _ := healthServer()
	ln := listen(t)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	defer func() { srv.Stop(); within.Receive(t, done) }()
	cl := dial(t, ln.Addr().String())
	check := func(message string) (*invoke.Answer, string) {
		c := post(message)
		c.Path, c.Length = "/grpc.health.v1.Health/Check", -1
		c.Fields = lines("Content-Type", "application/grpc")
		a, err := roundTrip(t.Context(), cl, c)
		if err != nil {
			t.Fatal(err)
		}
		return a, text(t, a)
	}
	a, got := check("\x00\x00\x00\x00\x00")
	if got != "\x00\x00\x00\x00\x02\x08\x01" || a.Body.Trailers().Get("grpc-status") != "0" {
		t.Errorf("%q, %v, %v", got, a.Fields, a.Body.Trailers())
	}
	a, got = check("\x00\x00\x00\x00\x03\x0a\x01x")
	if got != "" || a.Fields.Get("grpc-status")+a.Body.Trailers().Get("grpc-status") != "5" {
		t.Errorf("%q, %v, %v", got, a.Fields, a.Body.Trailers())
	}
	// It leaves in two steps, and says which requests it has taken.
	go srv.GracefulStop()
	within.Until(t, "the client to know", func() bool { return !cl.Usable() })
	if err := cl.Reserve(t.Context()); !h2.Evidence(err).NotWritten {
		t.Errorf("Reserve: %v", err)
	}
}

// The time a client allows ends the exchange.
func TestGRPCsClientGivesUpOnItsOwnTime(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	ctx := within.Limited(t)
	st := serve(t, func(called *callctx.Context, s *h2.Stream) {
		if s.Fields().Get("grpc-timeout") == "" {
			t.Errorf("%v", s.Fields())
		}
		ctx.Pass()
		<-called.Done()
		ended <- callctx.Cause(called)
	})
	if _, err := grpcClient(t, st.addr).Check(ctx, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v", err)
	}
	if err := within.Receive(t, ended); err == nil {
		t.Error("no cause")
	}
}
