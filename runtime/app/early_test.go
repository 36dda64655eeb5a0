package app_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// endless is a body that does not end before it is closed.
func endless() *pieces {
	body := newPieces()
	go func() {
		for {
			select {
			case body.parts <- strings.Repeat("x", 10_000):
			case <-body.closed:
				return
			}
		}
	}()
	return body
}

// An app that answers and hangs up while the body is still on its way has
// answered.
func TestAnswerOfAnAppThatHangsUpIsNotLost(t *testing.T) {
	t.Parallel()
	port := raw(t, func(c net.Conn) {
		if readUntil(c, "\r\n\r\n") == "" {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
	}) // and closes, with all of the body unread
	a, _ := runApp(t, app.Config{Port: port})
	for range 20 {
		for name, c := range map[string]*invoke.Call{
			"stream": {Verb: "POST", Path: "/", Only: true, Body: endless(), Length: 1 << 40},
			"chunks": {Verb: "POST", Path: "/", Only: true, Body: endless(), Length: -1},
			"whole":  post("/", strings.Repeat("x", 60_000)),
			"larger": post("/", strings.Repeat("x", 600_000)),
		} {
			ans, body := do(t, a, c)
			if ans.Status != 413 || body != "big" {
				t.Errorf("%s: answer = %d %q", name, ans.Status, body)
			}
		}
	}
}

// An app that does not read the body, and answers, is heard.
func TestAnswerOfAnAppThatDoesNotRead(t *testing.T) {
	t.Parallel()
	port := raw(t, func(c net.Conn) {
		if readUntil(c, "\r\n\r\n") == "" {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, c)
	})
	for _, size := range []int{10, 64 << 10, 8 << 20} {
		a, _ := runApp(t, app.Config{Port: port})
		ans, body := do(t, a, post("/", strings.Repeat("x", size)))
		if ans.Status != 403 || body != "no" {
			t.Errorf("with %d bytes: answer = %d %q", size, ans.Status, body)
		}
	}
}

// An answer that was there before the call is the answer of an app that turns
// everybody away, as one with too many connections does.
func TestAnswerBeforeTheRequest(t *testing.T) {
	t.Parallel()
	port := raw(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbusy")
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})
	a, _ := runApp(t, app.Config{Port: port})
	ans, body := do(t, a, post("/", "hello"))
	if ans.Status != 503 || body != "busy" {
		t.Errorf("answer = %d %q", ans.Status, body)
	}
}

// An app's half-close leaves the client's direction of a tunnel open.
func TestTunnelThatTheAppHalfCloses(t *testing.T) {
	t.Parallel()
	rest := make(chan string, 1)
	port := raw(t, func(c net.Conn) {
		if readUntil(c, "\r\n\r\n") == "" {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nall I say")
		_ = c.(*net.TCPConn).CloseWrite()
		all, _ := io.ReadAll(c)
		rest <- string(all)
	})
	a, _ := runApp(t, app.Config{Port: port})
	c := get("/ws")
	c.Upgrade = "echo"
	ans, err := a.Serve(within.Context(t), c)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(ans.Body); string(all) != "all I say" || err != nil {
		t.Errorf("read %q, %v", all, err)
	}
	for range 3 {
		if _, err := io.WriteString(ans.Upgraded, "still here "); err != nil {
			t.Fatal(err)
		}
	}
	_ = ans.Upgraded.CloseWrite()
	if got := within.Receive(t, rest); got != strings.Repeat("still here ", 3) {
		t.Errorf("the app read %q", got)
	}
	_ = ans.Body.Close()
}

// The contexts of calls end what waits, as the standard library's do.
func TestCallsContextEndsTheCall(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 1)
	started := make(chan struct{}, 1)
	port := raw(t, func(c net.Conn) {
		if readUntil(c, "\r\n\r\n") == "" {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		started <- struct{}{}
		_, _ = io.Copy(io.Discard, c)
		gone <- struct{}{}
	})
	a, _ := runApp(t, app.Config{Port: port})
	ctx := callctx.New(t.Context(), time.Time{})
	ans, err := a.Serve(ctx, get("/"))
	if err != nil {
		t.Fatal(err)
	}
	within.Receive(t, started)
	ctx.Cancel(&apperr.Error{Reason: apperr.Cancelled, What: "the client left"})
	if rest, err := io.ReadAll(ans.Body); err == nil || apperr.From(err).What != "the client left" {
		t.Errorf("read %q, %v", rest, err)
	}
	within.Receive(t, gone)
	if n := a.Inflight(); n != 0 {
		t.Errorf("Inflight = %d", n)
	}
}

// The connection of an answer that is there carries the next call while the
// answer has not been read, and neither gets the other's bytes.
func TestAnswersThatAreThereKeepNoConnection(t *testing.T) {
	t.Parallel()
	var conns atomic.Int32
	port := raw(t, func(c net.Conn) {
		for n := 0; ; n++ {
			head := readUntil(c, "\r\n\r\n")
			if head == "" {
				return
			}
			if n == 0 {
				conns.Add(1)
			}
			id, _, _ := strings.Cut(strings.TrimPrefix(head, "GET /"), " ")
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"+id)
		}
	})
	a, _ := runApp(t, app.Config{Port: port})
	answers := make(map[string]*invoke.Answer)
	for _, id := range []string{"one", "two", "six", "ten"} {
		ans, err := a.Serve(within.Context(t), get("/"+id))
		if err != nil {
			t.Fatal(err)
		}
		answers[id] = ans
	}
	if n := a.Inflight(); n != 4 {
		t.Errorf("Inflight = %d before the answers are closed", n)
	}
	for id, ans := range answers {
		whole, ok := invoke.Whole(ans.Body)
		first := string(whole)
		body, err := io.ReadAll(ans.Body)
		if !ok || first != id || string(body) != id || err != nil {
			t.Errorf("the answer to %s is %q, %v, %q, %v", id, first, ok, body, err)
		}
		_ = ans.Body.Close()
		_ = ans.Body.Close()
		if _, err := ans.Body.Read(make([]byte, 1)); err == nil {
			t.Error("a closed body is read")
		}
	}
	if n := a.Inflight(); n != 0 {
		t.Errorf("Inflight = %d", n)
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// Unary gRPC-like answers are there with their trailers.
func TestTrailersOfAnAnswerThatIsThere(t *testing.T) {
	t.Parallel()
	port := speak(t, func(string) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
	})
	a, _ := runApp(t, app.Config{Port: port})
	ans, err := a.Serve(within.Context(t), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	rest, trailers, ok := invoke.Complete(ans.Body)
	if _, whole := invoke.Whole(ans.Body); whole || !ok || !bytes.Equal(rest, []byte("ok")) || trailers.Get("x-sum") != "1" {
		t.Errorf("%q %v %v, whole without trailers: %v", rest, trailers, ok, whole)
	}
	_ = ans.Body.Close()
}

// A whole answer may be closed by somebody else than its reader.
func TestAnswerIsClosedWhileItIsRead(t *testing.T) {
	t.Parallel()
	port := speak(t, func(string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody" })
	a, _ := runApp(t, app.Config{Port: port})
	for range 50 {
		ans, err := a.Serve(context.Background(), get("/"))
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		go func() { defer close(closed); _ = ans.Body.Close() }()
		_, _ = io.ReadAll(ans.Body)
		within.Receive(t, closed)
	}
	if n := a.Inflight(); n != 0 {
		t.Errorf("Inflight = %d", n)
	}
}
