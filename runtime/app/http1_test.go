package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// speak serves each connection by handing every request's head to f, which
// gives the bytes to answer with; "" closes the connection.
func speak(t *testing.T, f func(head string) string) uint16 {
	t.Helper()
	return raw(t, func(c net.Conn) {
		for {
			head := readUntil(c, "\r\n\r\n")
			if head == "" {
				return
			}
			answer := f(head)
			if answer == "" {
				return
			}
			_, _ = io.WriteString(c, answer)
			if strings.Contains(answer, "Connection: close") {
				return
			}
		}
	})
}

// A byte leaves when it arrives, in both directions at once.
func TestFullDuplex(t *testing.T) {
	t.Parallel()
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		w.Header().Set("Trailer", "X-Echo")
		_ = control.Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				_, _ = w.Write(buf[:n])
				_ = control.Flush()
			}
			if err != nil {
				break
			}
		}
		w.Header().Set("X-Echo", r.Trailer.Get("X-Sent"))
	}))
	for _, protocol := range []string{"http", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			port := port
			if protocol == "h2c" {
				port = serveH2C(t, http.HandlerFunc(echoStream))
			}
			a, _ := runApp(t, app.Config{Port: port, Protocol: protocol})
			body := newPieces()
			body.trailers = fields("X-Sent", "end")
			c := &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: body, Length: -1, Fields: fields("Trailer", "X-Sent")}
			ans, err := a.Serve(within.Context(t), c)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 100)
			for _, word := range []string{"one", "two", "three"} {
				body.parts <- word
				n, err := io.ReadFull(ans.Body, buf[:len(word)])
				if err != nil || string(buf[:n]) != word {
					t.Fatalf("after %q came %q, %v", word, buf[:n], err)
				}
			}
			close(body.parts)
			if rest, err := io.ReadAll(ans.Body); err != nil || len(rest) > 0 {
				t.Fatalf("the rest is %q, %v", rest, err)
			}
			if got := ans.Body.Trailers().Get("X-Echo"); got != "end" {
				t.Errorf("trailer = %q, want end", got)
			}
			within.Receive(t, body.closed)
		})
	}
}

// An app that answers without reading the whole body is heard, and the sender
// is stopped.
func TestEarlyAnswerStopsTheSender(t *testing.T) {
	t.Parallel()
	port := raw(t, func(c net.Conn) {
		if readUntil(c, "\r\n\r\n") == "" {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
		_, _ = io.Copy(io.Discard, c)
	})
	a, _ := runApp(t, app.Config{Port: port})
	body := newPieces()
	go func() {
		for {
			select {
			case body.parts <- strings.Repeat("x", 1000):
			case <-body.closed:
				return
			}
		}
	}()
	ans, got := do(t, a, &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: body, Length: 1 << 40})
	if ans.Status != 413 || got != "big" {
		t.Errorf("answer = %d %q", ans.Status, got)
	}
	within.Receive(t, body.closed)
}

// A body that never ends and cannot be closed while it is read, as net/http's,
// does not keep its call.
func TestEarlyAnswerToASilentSender(t *testing.T) {
	t.Parallel()
	port := speak(t, func(string) string { return "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n" })
	a, _ := runApp(t, app.Config{Port: port})
	body := newPieces()
	ans, _ := do(t, a, &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: body, Length: -1})
	if ans.Status != 403 {
		t.Errorf("status = %d", ans.Status)
	}
	within.Receive(t, body.closed)
}

func TestCallersBodyBreaksOff(t *testing.T) {
	t.Parallel()
	complete := make(chan bool, 2)
	port := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		complete <- err == nil
	}))
	a, _ := runApp(t, app.Config{Port: port})
	for _, length := range []int64{10, -1} {
		body := newPieces()
		body.fault = io.ErrUnexpectedEOF
		go func() { body.parts <- "half"; close(body.parts) }()
		e := failed(t, a, &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: body, Length: length})
		if e.Reason != apperr.Cancelled || e.At() != apperr.HopCaller || e.Reached != apperr.ReachedMaybe {
			t.Errorf("length %d: error = %s at %s, reached %s", length, e.Reason, e.At(), e.Reached)
		}
		if within.Receive(t, complete) {
			t.Errorf("length %d: the app took half a body for a whole one", length)
		}
	}
}

func TestInformationalAnswers(t *testing.T) {
	t.Parallel()
	port := speak(t, func(string) string {
		return "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	})
	a, _ := runApp(t, app.Config{Port: port})
	var got []string
	c := get("/")
	c.Informational = func(status int, f invoke.Fields) error {
		got = append(got, fmt.Sprint(status, f.Get("link")))
		return nil
	}
	ans, _ := do(t, a, c)
	if ans.Status != 200 || strings.Join(got, " ") != "102 103</a>" {
		t.Errorf("got %d after %q", ans.Status, got)
	}
}

// The body is not asked for before the app asks for it, and not at all if the
// app answers instead.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	port := raw(t, func(c net.Conn) {
		head := readUntil(c, "\r\n\r\n")
		switch {
		case strings.Contains(head, "/no"):
			_, _ = io.WriteString(c, "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
		case head != "":
			if !strings.Contains(head, "Expect: 100-continue\r\n") {
				return
			}
			close(asked)
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			body := readUntil(c, "hello")
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"+body)
		}
	})
	a, _ := runApp(t, app.Config{Port: port})
	early := atomic.Bool{}
	began := time.Now()
	body := invoke.NewBody(io.NopCloser(readerFunc(func(p []byte) (int, error) {
		select {
		case <-asked:
		default: // an app that is slow to ask gets it all the same
			early.Store(time.Since(began) < app.ContinueWait)
		}
		return copy(p, "hello"), io.EOF
	})), nil)
	var informed []int
	c := &invoke.Call{Verb: "PUT", Path: "/", Only: true, Expect: true, Body: body, Length: 5}
	c.Informational = func(status int, _ invoke.Fields) error { informed = append(informed, status); return nil }
	if ans, got := do(t, a, c); ans.Status != 200 || got != "hello" || early.Load() {
		t.Errorf("answer = %d %q; body read early: %v", ans.Status, got, early.Load())
	}
	if len(informed) != 1 || informed[0] != 100 {
		t.Errorf("informed of %v, want 100", informed)
	}
	untouched := newPieces()
	ans, _ := do(t, a, &invoke.Call{Verb: "PUT", Path: "/no", Only: true, Expect: true, Body: untouched, Length: 5})
	if ans.Status != 417 {
		t.Errorf("status = %d, want 417", ans.Status)
	}
	within.Receive(t, untouched.closed)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// The first event of a stream is there before the second one is made.
func TestStreamIsNotGathered(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}))
	a, _ := runApp(t, app.Config{Port: port})
	ans, err := a.Serve(within.Context(t), get("/events"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ans.Body.Close() }()
	lines := bufio.NewScanner(ans.Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprint("data: ", i) || !lines.Scan() {
			t.Fatalf("event %d is %q", i, lines.Text())
		}
		next <- struct{}{}
	}
}

func TestUpgradeIsATunnel(t *testing.T) {
	t.Parallel()
	half := make(chan string, 1)
	port := raw(t, func(c net.Conn) {
		head := readUntil(c, "\r\n\r\n")
		if !strings.Contains(head, "Connection: Upgrade\r\nUpgrade: echo\r\n") {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-K: v\r\n\r\nhi ")
		all, _ := io.ReadAll(c) // until the client's half is closed
		half <- string(all)
		_, _ = io.WriteString(c, "you said "+string(all))
	})
	a, _ := runApp(t, app.Config{Port: port})
	c := get("/ws")
	c.Upgrade = "echo"
	ans, err := a.Serve(within.Context(t), c)
	if err != nil {
		t.Fatal(err)
	}
	if ans.Status != 101 || ans.Upgraded == nil || ans.Fields.Get("x-k") != "v" || ans.Fields.Get("upgrade") != "echo" {
		t.Fatalf("answer = %+v", ans)
	}
	_, _ = io.WriteString(ans.Upgraded, "one")
	_, _ = io.WriteString(ans.Upgraded, " two")
	if err := ans.Upgraded.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := within.Receive(t, half); got != "one two" {
		t.Errorf("the app read %q", got)
	}
	all, err := io.ReadAll(ans.Body)
	if err != nil || string(all) != "hi you said one two" {
		t.Errorf("read %q, %v", all, err)
	}
	if a.Inflight() != 1 {
		t.Errorf("Inflight = %d before the tunnel is closed", a.Inflight())
	}
	_ = ans.Body.Close()
	_ = ans.Body.Close()
	if a.Inflight() != 0 {
		t.Errorf("Inflight = %d", a.Inflight())
	}
}

func TestUpgradeThatTheAppDeclines(t *testing.T) {
	t.Parallel()
	port := speak(t, func(string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno" })
	a, _ := runApp(t, app.Config{Port: port})
	c := get("/ws")
	c.Upgrade = "websocket"
	if ans, body := do(t, a, c); ans.Status != 200 || ans.Upgraded != nil || body != "no" {
		t.Errorf("answer = %+v %q", ans, body)
	}
}

// A cancelled call closes its connection at once, whether its answer is
// awaited or streams.
func TestCancelledCallLeavesTheApp(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 2)
	started := make(chan struct{}, 2)
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_ = http.NewResponseController(w).Flush()
		}
		started <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	}))
	for _, protocol := range []string{"http", "h2c"} {
		port := port
		if protocol == "h2c" {
			port = serveH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/stream" {
					_ = http.NewResponseController(w).Flush()
				}
				started <- struct{}{}
				<-r.Context().Done()
				gone <- struct{}{}
			}))
		}
		a, _ := runApp(t, app.Config{Port: port, Protocol: protocol})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-started; cancel() }()
		_, err := a.Serve(ctx, get("/wait"))
		if !apperr.Is(err, apperr.Cancelled) || apperr.From(err).Reached != apperr.ReachedMaybe {
			t.Errorf("%s: Serve = %v", protocol, err)
		}
		within.Receive(t, gone)
		ctx, cancel = context.WithCancel(t.Context())
		ans, err := a.Serve(ctx, get("/stream"))
		if err != nil {
			t.Fatal(err)
		}
		within.Receive(t, started)
		cancel()
		if _, err := ans.Body.Read(make([]byte, 1)); !apperr.Is(err, apperr.Cancelled) {
			t.Errorf("%s: Read = %v", protocol, err)
		}
		within.Receive(t, gone)
		if n := a.Inflight(); n != 0 {
			t.Errorf("%s: Inflight = %d", protocol, n)
		}
	}
}

func TestDeadlineSaysWhereTheTimeWent(t *testing.T) {
	t.Parallel()
	ctx := within.Limited(t)
	port := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx.Pass()
		<-r.Context().Done()
	}))
	a, _ := runApp(t, app.Config{Port: port})
	_, err := a.Serve(ctx, get("/"))
	e := apperr.From(err)
	if e.Reason != apperr.DeadlineExceeded || e.Reached != apperr.ReachedMaybe ||
		!strings.HasPrefix(e.Message(), "DEADLINE_EXCEEDED: context deadline exceeded after ") || !strings.HasSuffix(e.Message(), "of it in the app") {
		t.Errorf("error = %s, %s, reached %s", e.Reason, e.Message(), e.Reached)
	}
}

func TestAppThatHangsUp(t *testing.T) {
	t.Parallel()
	calls := atomic.Int32{}
	port := speak(t, func(head string) string {
		calls.Add(1)
		if strings.Contains(head, "/half") {
			return "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX: Connection: close\r\n\r\nhalf"
		}
		return ""
	})
	a, _ := runApp(t, app.Config{Port: port})
	e := failed(t, a, post("/", "x"))
	if e.Reason != apperr.AppGone || e.Reached != apperr.ReachedMaybe || !strings.HasPrefix(e.What, "orders closed the connection") {
		t.Errorf("error = %s, %s, reached %s", e.Reason, e.Message(), e.Reached)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("the app was called %d times", n)
	}
	ans, err := a.Serve(within.Context(t), get("/half"))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(ans.Body); string(body) != "half" || !apperr.Is(err, apperr.AppGone) {
		t.Errorf("read %q, %v", body, err)
	}
}
