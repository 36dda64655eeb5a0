package grpctest_test

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// waits is a method that says when its call has begun and ended.
func waits(begun chan<- struct{}, ended chan<- struct{}) handler {
	return func(stream grpc.ServerStream) error {
		if err := say(stream, "begun"); err != nil {
			return err
		}
		begun <- struct{}{}
		<-stream.Context().Done()
		ended <- struct{}{}
		return nil
	}
}

// wait is for what the app says.
func wait[T any](t *testing.T, what string, c <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(patience):
		t.Fatalf("still not: %s", what)
	}
	return got
}

func TestCancellationReachesTheApp(t *testing.T) {
	everywhere(t, func(s *scene) {
		begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(s.ctx())
		defer cancel()
		stream := s.open(ctx, s.method(waits(begun, ended)))
		s.mustHear(stream, "begun")
		cancel()
		wait(s.t, "the app's call is cancelled", ended)
		if _, err := hear(stream); status.Code(err) != codes.Canceled {
			s.t.Errorf("error = %v", err)
		}
	})
}

// It does so before the app has answered with anything.
func TestCancellationBeforeTheAnswer(t *testing.T) {
	everywhere(t, func(s *scene) {
		begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
		name := s.method(func(stream grpc.ServerStream) error {
			begun <- struct{}{}
			<-stream.Context().Done()
			ended <- struct{}{}
			return nil
		})
		ctx, cancel := context.WithCancel(s.ctx())
		defer cancel()
		_ = s.open(ctx, name)
		wait(s.t, "the app has the call", begun)
		cancel()
		wait(s.t, "the app's call is cancelled", ended)
	})
}

// A client that dies takes its calls with it.
func TestDeadClientFreesTheApp(t *testing.T) {
	everywhere(t, func(s *scene) {
		conns := make(chan net.Conn, 1)
		client := dial(s.t, s.door, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
			if err == nil {
				select {
				case conns <- c:
				default:
				}
			}
			return c, err
		}))
		const calls = 10
		begun, ended := make(chan struct{}, calls), make(chan struct{}, calls)
		name := s.method(waits(begun, ended))
		for range calls {
			open(s.t, client, s.ctx(), name)
		}
		for range calls {
			wait(s.t, "the app has the call", begun)
		}
		c := <-conns
		_ = c.(*net.TCPConn).SetLinger(0) // as the kernel does for a process that is killed with data unread
		_ = c.Close()                     // it is gone
		for range calls {
			wait(s.t, "the app's call is cancelled", ended)
		}
	})
}

// The app is gone from one call, not from its neighbours.
func TestCancellationLeavesOthersAlone(t *testing.T) {
	everywhere(t, func(s *scene) {
		begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
		stays := s.open(s.ctx(), s.method(echo))
		s.mustSay(stays, "before")
		s.mustHear(stays, "before")
		ctx, cancel := context.WithCancel(s.ctx())
		s.mustHear(s.open(ctx, s.method(waits(begun, ended))), "begun")
		cancel()
		wait(s.t, "the app's call is cancelled", ended)
		s.mustSay(stays, "after")
		s.mustHear(stays, "after")
	})
}
