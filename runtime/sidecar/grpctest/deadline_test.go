package grpctest_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/pillion-dev/pillion/internal/porttest"
)

// left answers with the time the app may take.
func left(seen chan<- time.Duration) handler {
	return func(stream grpc.ServerStream) error {
		deadline, ok := stream.Context().Deadline()
		if !ok {
			seen <- 0
		} else {
			seen <- time.Until(deadline)
		}
		return echo(stream)
	}
}

func TestDeadlineReachesTheApp(t *testing.T) {
	everywhere(t, func(s *scene) {
		seen := make(chan time.Duration, 1)
		name := s.method(left(seen))
		for _, limit := range []time.Duration{patience, 20 * time.Hour, 1000 * time.Hour} {
			ctx, cancel := context.WithTimeout(s.ctx(), limit)
			want := min(limit, patience)
			if _, err := s.ask(ctx, name, ""); err != nil {
				s.t.Error(err)
			}
			cancel()
			if got := <-seen; got > want || got < want/2 {
				s.t.Errorf("the app has %v of %v", got, want)
			}
		}
		ctx := metadata.AppendToOutgoingContext(s.t.Context(), "dapr-app-id", s.id)
		if _, err := s.ask(ctx, name, ""); err != nil {
			s.t.Error(err)
		}
		if got := <-seen; got != 0 {
			s.t.Errorf("the app has %v though the client sets no limit", got)
		}
	})
}

func TestDeadlineEndsTheCallAtBothEnds(t *testing.T) {
	everywhere(t, func(s *scene) {
		begun, ended := make(chan struct{}, 10), make(chan struct{}, 10) // of all that are made
		name := s.method(func(stream grpc.ServerStream) error {
			begun <- struct{}{}
			<-stream.Context().Done()
			ended <- struct{}{}
			return status.FromContextError(stream.Context().Err()).Err()
		})
		if _, err := s.ask(s.ctx(), s.method(echo), ""); err != nil { // the time is not for greeting
			s.t.Error(err)
		}
		// On a busy machine a short time may pass before the app has the call.
		for limit := time.Second; len(begun) == 0; limit *= 2 {
			ctx, cancel := context.WithTimeout(s.ctx(), limit)
			_, err := s.ask(ctx, name, "")
			cancel()
			if status.Code(err) != codes.DeadlineExceeded {
				s.t.Fatalf("error = %v", err)
			}
			if limit > patience {
				s.t.Fatal("the app does not get the call")
			}
		}
		wait(s.t, "the app's call has ended", ended)
	})
}

// A call that waited for its app has that much less time in it.
func TestDeadlineIsWhatIsLeft(t *testing.T) {
	engines(t, func(s *scene) {
		port := porttest.Reserve(s.t) // the app comes later
		s.id = "tardy"
		s.mesh.sidecar(s.t, s.id, "--app-port", port.String(), "--app-protocol", "grpc", "--hold", patience.String())

		// The client's deadline and the app's are one moment, however long the
		// call was held: they have the same machine's clock. What it takes on its
		// way is not subtracted, and is less, on a machine that is not very busy.
		seen := make(chan time.Time, 1)
		ctx := s.ctx()
		deadline, _ := ctx.Deadline()
		began := time.Now()
		answered := make(chan error, 1)
		go func() {
			_, err := s.ask(ctx, firstMethod, "")
			answered <- err
		}()
		held := time.NewTimer(3 * time.Second) // what is measured is a time
		<-held.C
		late, err := newApp(nil)
		if err != nil {
			s.t.Fatal(err)
		}
		late.method(s.t, func(stream grpc.ServerStream) error {
			at, _ := stream.Context().Deadline()
			seen <- at
			return echo(stream)
		})
		if err := late.open(port.Addr()); err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(late.close)
		if err := wait(s.t, "the call is answered", answered); err != nil {
			s.t.Fatal(err)
		}
		waited := time.Since(began)
		if at := <-seen; at.Sub(deadline) > waited/2 {
			s.t.Errorf("the app's deadline is %v behind the client's, after %v of waiting", at.Sub(deadline), waited)
		}
	})
}

// The longest time that a client can write is no short one.
func TestLongestDeadline(t *testing.T) {
	everywhere(t, func(s *scene) {
		seen := make(chan time.Duration, 1)
		name := s.method(left(seen))
		w := newWire(s.t, s.door)
		w.call(1, s.id, name, "", "grpc-timeout", "99999999H")
		if r := w.answer(1); r.get("grpc-status") != "0" {
			s.t.Fatalf("answer = %+v", r)
		}
		if got := <-seen; got < 1000*time.Hour {
			s.t.Errorf("the app has %v", got)
		}
	})
}
