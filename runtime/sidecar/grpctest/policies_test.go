package grpctest_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pillion-dev/pillion/internal/apperr"
)

const policies = `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: mine}
spec:
  policies:
    timeouts:
      short: 1m
    retries:
      twice:
        policy: constant
        duration: 1ms
        maxRetries: 2
        matching: {gRPCStatusCodes: "4,13-14"}
    circuitBreakers:
      fuse: {trip: consecutiveFailures >= 4}
  targets:
    apps:
      orders: {timeout: short, retry: twice, circuitBreaker: fuse}
`

// Policies see the status of gRPC, and answer in its codes.
func TestPoliciesOfAGRPCApp(t *testing.T) {
	engines(t, func(s *scene) {
		file := filepath.Join(s.t.TempDir(), "resiliency.yaml")
		if err := os.WriteFile(file, []byte(policies), 0o600); err != nil {
			s.t.Fatal(err)
		}
		s.conn = dial(s.t, s.mesh.sidecar(s.t, "careful", "--resources-path", file).grpc)
		counting := func(n *atomic.Int32, end func(n int32, stream grpc.ServerStream) error) string {
			return s.method(func(stream grpc.ServerStream) error { return end(n.Add(1), stream) })
		}
		for _, c := range []struct {
			code codes.Code
			want int32
		}{{codes.Unavailable, 3}, {codes.Internal, 3}, {codes.NotFound, 1}} {
			var n atomic.Int32
			name := counting(&n, func(int32, grpc.ServerStream) error { return status.Error(c.code, "no") })
			var head metadata.MD
			_, err := s.ask(s.ctx(), name, "in", grpc.Header(&head))
			if status.Code(err) != c.code || status.Convert(err).Message() != "no" || n.Load() != c.want {
				s.t.Errorf("%v: %d calls, %v", c.code, n.Load(), err)
			}
		}

		var n atomic.Int32
		name := counting(&n, func(n int32, stream grpc.ServerStream) error {
			if n < 3 {
				return status.Error(codes.Unavailable, "not yet")
			}
			return echo(stream)
		})
		var head metadata.MD
		if out, err := s.ask(s.ctx(), name, "in", grpc.Header(&head)); err != nil || out != "in" || n.Load() != 3 || strings.Join(head.Get("pillion-attempts"), "") != "3" {
			s.t.Errorf("the third: %q, %v, %d calls, %v", out, err, n.Load(), head)
		}

		var failing atomic.Int32
		name = counting(&failing, func(int32, grpc.ServerStream) error { return status.Error(codes.Unavailable, "no") })
		_, _ = s.ask(s.ctx(), name, "in")
		_, err := s.ask(s.ctx(), name, "in")
		if info := ours(s.t, err, apperr.CircuitOpen); status.Code(err) != codes.Unknown || !strings.HasPrefix(status.Convert(err).Message(), "circuit breaker is open") ||
			info.GetMetadata()["attempts"] != "" || failing.Load() != 4 {
			s.t.Errorf("the breaker: %d calls, %v", failing.Load(), err)
		}
	})
}

func TestATimeOutOfAGRPCApp(t *testing.T) {
	engines(t, func(s *scene) {
		file := filepath.Join(s.t.TempDir(), "resiliency.yaml")
		if err := os.WriteFile(file, []byte(strings.Replace(policies, "short: 1m", "short: 3s", 1)), 0o600); err != nil {
			s.t.Fatal(err)
		}
		s.conn = dial(s.t, s.mesh.sidecar(s.t, "hasty", "--resources-path", file).grpc)
		_, _ = s.ask(s.ctx(), s.method(echo), "in") // the connection is there then

		var slow atomic.Int32
		name := s.method(func(stream grpc.ServerStream) error {
			slow.Add(1)
			<-stream.Context().Done()
			return stream.Context().Err()
		})
		_, err := s.ask(s.ctx(), name, "in")
		if info := ours(s.t, err, apperr.DeadlineExceeded); status.Code(err) != codes.DeadlineExceeded || slow.Load() != 3 ||
			!strings.Contains(status.Convert(err).Message(), `the time-out "short" of `+file+":7") || info.GetMetadata()["attempts"] != "3" {
			s.t.Errorf("the time-out: %d calls, %v", slow.Load(), err)
		}

		// A stream that says so is limited until the app has it.
		var once atomic.Int32
		told := make(chan struct{})
		name = s.method(func(grpc.ServerStream) error {
			once.Add(1)
			<-told
			return status.Error(codes.Unavailable, "the end")
		})
		stream := s.open(s.ctx("dapr-stream", "true"), name)
		until(s.t, "the stream at the app", func() bool { return once.Load() == 1 })
		_, _ = s.ask(s.ctx(), slowMethod(s), "in") // which lasts for three time-outs
		close(told)
		if _, err := hear(stream); status.Code(err) != codes.Unavailable || once.Load() != 1 {
			s.t.Errorf("the stream: %d calls, %v", once.Load(), err)
		}
	})
}

// slowMethod is one that waits until its call is over.
func slowMethod(s *scene) string {
	return s.method(func(stream grpc.ServerStream) error {
		<-stream.Context().Done()
		return stream.Context().Err()
	})
}
