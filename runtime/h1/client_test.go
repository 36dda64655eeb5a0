//go:build unix

package h1_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// waiting serves calls that wait for their end, and tells of it.
func waiting(t *testing.T) (s *site, began chan struct{}, ended chan error) {
	t.Helper()
	began, ended = make(chan struct{}, 1), make(chan error, 1)
	return serve(t, h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) {
		if x.Head.Target == "/quick" {
			reflect(ctx, x)
			return
		}
		began <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
	}}}), began, ended
}

func TestAClientThatLeavesEndsItsCall(t *testing.T) {
	t.Parallel()
	s, began, ended := waiting(t)
	for name, leave := range map[string]func(*wire){
		"closes":      func(w *wire) { _ = w.Close() },
		"half-closes": func(w *wire) { _ = w.CloseWrite() },
		"resets":      func(w *wire) { _ = w.SetLinger(0); _ = w.Close() },
	} {
		for kind, text := range map[string]string{
			"without a body":        get,
			"with a body":           post("Content-Length: 3") + "abc",
			"within a body":         post("Content-Length: 300000") + "abc",
			"within a short body":   post("Content-Length: 30") + "abc",
			"within a chunk":        post("Transfer-Encoding: chunked") + "fff\r\nabc",
			"behind another call":   strings.Replace(get, "/x", "/quick", 1) + get,
			"waiting for 100":       post("Content-Length: 3", "Expect: 100-continue"),
			"with a line too early": post("Connection: upgrade", "Upgrade: x"),
		} {
			w := dial(t, s.addr)
			w.send(t, text)
			within.Receive(t, began)
			leave(w)
			select {
			case err := <-ended:
				if err == nil {
					t.Errorf("%s %s: no error", name, kind)
				}
			case <-time.After(patience):
				t.Fatalf("a client that %s %s: its call goes on", name, kind)
			}
		}
	}
}

// What a client that has left sent before is no sign of life.
func TestAResetBehindAnotherRequestEndsTheCall(t *testing.T) {
	t.Parallel()
	s, began, ended := waiting(t)
	w := dial(t, s.addr)
	w.send(t, get)
	within.Receive(t, began)
	w.send(t, get)
	_ = w.SetLinger(0)
	_ = w.Close()
	if err := within.Receive(t, ended); err == nil {
		t.Error("no error")
	}
}

// A client may send several requests, end its direction and wait for the
// answers.
func TestAClientThatSentAnotherRequestHasNotLeft(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]bool{"in one write": true, "later": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := make(chan struct{}, 2)
			cancelled := make(chan error, 2)
			s := serve(t, h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) {
				began <- struct{}{}
				select { // five times as long as a client's end takes to be known
				case <-ctx.Done():
					cancelled <- ctx.Err()
				case <-time.After(200 * time.Millisecond):
				}
				reflect(ctx, x)
			}}})
			w := dial(t, s.addr)
			if ahead {
				w.send(t, get+get)
				within.Receive(t, began)
			} else {
				w.send(t, get)
				within.Receive(t, began)
				w.send(t, get)
			}
			_ = w.CloseWrite()
			w.seen(t)
			if len(cancelled) > 0 {
				t.Error("the first call was ended")
			}
			w.seen(t)
		})
	}
}

func TestAClientThatLeavesEndsAnAnswerThatStreams(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	s := serve(t, h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) {
		r, app := io.Pipe()
		stop := context.AfterFunc(ctx, func() { _ = app.CloseWithError(ctx.Err()) })
		defer stop()
		_ = x.Answer(&invoke.Answer{Status: 200, Length: -1, Body: invoke.NewBody(r, nil)})
		close(ended)
	}}})
	w := dial(t, s.addr)
	w.send(t, get)
	if _, err := http.ReadResponse(w.r, nil); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	within.Receive(t, ended)
}

func TestTheDeadlineEndsTheCall(t *testing.T) {
	t.Parallel()
	s := serve(t, h1.Config{Handler: handler{
		take: func(x *h1.Exchange) bool { x.Deadline = time.Now().Add(time.Millisecond); return true },
		serve: func(ctx context.Context, x *h1.Exchange) {
			<-ctx.Done()
			_ = x.Reply(h1.Reply{Status: 200, Body: []byte(ctx.Err().Error())})
		},
	}})
	w := dial(t, s.addr)
	w.send(t, get)
	if _, body := w.response(t, "GET"); body != context.DeadlineExceeded.Error() {
		t.Errorf("%q", body)
	}
}
