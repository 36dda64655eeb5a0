package h1_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h1"
)

func TestShutdownClosesWhatIsIdleAndWaitsForTheRest(t *testing.T) {
	t.Parallel()
	began, end := make(chan struct{}), make(chan struct{})
	s := serve(t, h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) {
		if x.Head.Target == "/slow" {
			close(began)
			<-end
		}
		reflect(ctx, x)
	}}})
	silent, idle, busy := dial(t, s.addr), dial(t, s.addr), dial(t, s.addr)
	idle.send(t, get)
	idle.seen(t)
	busy.send(t, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
	within.Receive(t, began)
	done := make(chan struct{})
	go func() { s.Shutdown(t.Context(), nil); close(done) }()
	silent.closed(t)
	idle.closed(t)
	select {
	case <-done:
		t.Error("Shutdown did not wait")
	default:
	}
	close(end)
	if resp, _ := busy.response(t, "GET"); !resp.Close {
		t.Error("the last answer does not say so")
	}
	busy.closed(t)
	within.Receive(t, done)
	late := dial(t, s.addr)
	late.closed(t)
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	cause := errors.New("it stops")
	causes := make(chan error, 2)
	began := make(chan struct{}, 2)
	s := serve(t, h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) {
		if x.Head.Upgrade != "" {
			_, _ = x.Switch(nil)
		}
		began <- struct{}{}
		<-ctx.Done()
		causes <- callctx.Cause(ctx)
	}}})
	call, tunnel := dial(t, s.addr), dial(t, s.addr)
	call.send(t, get)
	tunnel.send(t, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	within.Receive(t, began)
	within.Receive(t, began)
	limit, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	s.Shutdown(limit, cause)
	for range 2 {
		if got := within.Receive(t, causes); !errors.Is(got, cause) {
			t.Errorf("cause %v, want %v", got, cause)
		}
	}
	call.closed(t)
	_, _ = io.Copy(io.Discard, tunnel.r) // it has ended, or the test does not
}

// Nobody waits for a tunnel: it may last for ever.
func TestShutdownDoesNotWaitForTunnels(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	s := serve(t, h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) {
		_, _ = x.Switch(nil)
		close(began)
		<-ctx.Done()
	}}})
	w := dial(t, s.addr)
	w.send(t, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	within.Receive(t, began)
	s.Shutdown(t.Context(), nil)
}

func TestAMistakeInACallEndsItsConnectionOnly(t *testing.T) {
	t.Parallel()
	s := serve(t, h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) {
		if x.Head.Verb == "POST" {
			panic("a mistake")
		}
		reflect(ctx, x)
	}}})
	other, w := dial(t, s.addr), dial(t, s.addr)
	w.send(t, post("Content-Length: 3")+"abc")
	w.closed(t)
	other.send(t, get)
	other.seen(t)
}

// A handler that says nothing has nothing to say.
func TestACallWithoutAnAnswerEndsItsConnection(t *testing.T) {
	t.Parallel()
	s := serve(t, h1.Config{Handler: handler{serve: func(context.Context, *h1.Exchange) {}}})
	w := dial(t, s.addr)
	w.send(t, get)
	w.closed(t)
}
