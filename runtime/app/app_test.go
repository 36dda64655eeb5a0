package app_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// runApp runs an app's side until the test ends. Calls wait for it for as long
// as the test's patience, unless the test says how long.
func runApp(t testing.TB, cfg app.Config) (*app.App, *recorder) {
	t.Helper()
	rec := &recorder{}
	if cfg.Name == "" {
		cfg.Name = "orders"
	}
	if cfg.Hold.Wait == 0 {
		cfg.Hold.Wait = within.Patience
	}
	cfg.Events = rec.add
	a := app.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := within.Receive(t, done); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return a, rec
}

type recorder struct {
	mu     sync.Mutex // guards what follows
	events []app.Event
}

func (r *recorder) add(e app.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// all returns the events but the changes of state.
func (r *recorder) all() []app.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []app.Event
	for _, e := range r.events {
		if _, state := e.(app.StateChanged); !state {
			out = append(out, e)
		}
	}
	return out
}

// listen opens a loopback port.
func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func portOf(ln net.Listener) uint16 {
	return uint16(ln.Addr().(*net.TCPAddr).Port)
}

// serve serves h on a new port.
func serve(t testing.TB, h http.Handler) uint16 {
	t.Helper()
	ln := listen(t)
	serveOn(t, ln, h)
	return portOf(ln)
}

func serveOn(t testing.TB, ln net.Listener, h http.Handler) *http.Server {
	t.Helper()
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); within.Receive(t, done) })
	return srv
}

// raw serves each connection with f.
func raw(t testing.TB, f func(net.Conn)) uint16 {
	t.Helper()
	ln := listen(t)
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { defer func() { _ = c.Close() }(); f(c) })
		}
	})
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = ln.Close()
		go func() { defer close(done); conns.Wait() }()
		within.Receive(t, done)
	})
	return portOf(ln)
}

func get(path string) *invoke.Call {
	return &invoke.Call{Verb: "GET", Path: path, Major: 1, Only: true}
}

func post(path, body string) *invoke.Call {
	return &invoke.Call{
		Verb: "POST", Path: path, Major: 1, Only: true,
		Body: &closable{Body: invoke.BytesBody([]byte(body))}, Length: int64(len(body)),
	}
}

// A closable is a body of which nothing is left once it is closed, as of one that
// came over the mesh.
type closable struct {
	invoke.Body
	closed atomic.Bool
}

func (b *closable) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, io.ErrClosedPipe
	}
	return b.Body.Read(p)
}

func (b *closable) Whole() ([]byte, bool) {
	if b.closed.Load() {
		return nil, false
	}
	return invoke.Whole(b.Body)
}

func (b *closable) Held() (int64, bool) { return invoke.Held(b.Body) }

func (b *closable) Close() error {
	b.closed.Store(true)
	return nil
}

// do makes a call and reads its answer.
func do(t testing.TB, a *app.App, c *invoke.Call) (*invoke.Answer, string) {
	t.Helper()
	ans, err := a.Serve(within.Context(t), c)
	if err != nil {
		t.Fatalf("Serve(%s %s) = %v", c.Verb, c.Path, err)
	}
	body, err := io.ReadAll(ans.Body)
	if err != nil {
		t.Fatalf("read the answer of %s %s: %v", c.Verb, c.Path, err)
	}
	if err := ans.Body.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return ans, string(body)
}

// failed makes a call that must fail.
func failed(t testing.TB, a *app.App, c *invoke.Call) *apperr.Error {
	t.Helper()
	ans, err := a.Serve(within.Context(t), c)
	if err == nil {
		_ = ans.Body.Close()
		t.Fatalf("Serve(%s %s) = %d, want an error", c.Verb, c.Path, ans.Status)
	}
	var e *apperr.Error
	if !errors.As(err, &e) {
		t.Fatalf("Serve(%s %s) = %v (%T), want an *apperr.Error", c.Verb, c.Path, err, err)
	}
	return e
}

func TestCallReachesTheApp(t *testing.T) {
	t.Parallel()
	type seen struct {
		method, uri, host, body string
		header                  http.Header
	}
	got := make(chan seen, 1)
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.Method, r.RequestURI, r.Host, string(body), r.Header}
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte("made"))
	}))
	a, _ := runApp(t, app.Config{Port: port, Token: "secret"})
	c := post("/a%2Fb//c?x=%20y", "hello")
	c.Fields = fields("Content-Type", "text/plain", "X-One", "1", "X-One", "2", "Connection", "X-Nominated", "X-Nominated", "no", "Pillion-Inner", "no", "dapr-api-token", "forged", "Host", "evil", "Content-Length", "99", "Transfer-Encoding", "gzip")
	reached := 0
	c.Reached = func() { reached++ }
	c.Timing = new(invoke.Timing)
	ans, body := do(t, a, c)
	if ans.Status != http.StatusCreated || body != "made" || ans.Length != 4 || ans.Fields.Get("x-answer") != "yes" {
		t.Errorf("answer = %d %q, length %d, fields %v", ans.Status, body, ans.Length, ans.Fields)
	}
	in := within.Receive(t, got)
	if in.method != "POST" || in.uri != "/a%2Fb//c?x=%20y" || in.body != "hello" || !strings.HasPrefix(in.host, "127.0.0.1:") {
		t.Errorf("the app saw %+v", in)
	}
	if v := in.header["X-One"]; len(v) != 2 || in.header.Get("Dapr-Api-Token") != "secret" || len(in.header["Dapr-Api-Token"]) != 1 {
		t.Errorf("the app saw fields %v", in.header)
	}
	for _, name := range []string{"X-Nominated", "Pillion-Inner", "Accept-Encoding", "User-Agent"} {
		if in.header.Get(name) != "" {
			t.Errorf("the app saw %s: %s", name, in.header.Get(name))
		}
	}
	if reached != 1 || c.Timing.App <= 0 {
		t.Errorf("reached %d times, timing %+v", reached, *c.Timing)
	}
}

// The head is written anew, with the names' case and the lines' order kept.
func TestHeadOnTheWire(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	port := raw(t, func(c net.Conn) {
		head := readUntil(c, "\r\n\r\n")
		if head == "" {
			return // the look whether the port is open
		}
		heads <- head
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-b: 1\r\nx-A:2 \r\nSet-Cookie: a\r\nContent-Length: 2\r\nSet-Cookie: b\r\nKeep-Alive: timeout=5\r\n\r\nok")
	})
	a, _ := runApp(t, app.Config{Port: port})
	c := get("/x?y")
	c.Fields = fields("zulu", "1", "Alpha", "two words", "zulu", "2")
	ans, body := do(t, a, c)
	want := "GET /x?y HTTP/1.1\r\nHost: 127.0.0.1:" + itoa(port) + "\r\nzulu: 1\r\nAlpha: two words\r\nzulu: 2\r\n\r\n"
	if head := within.Receive(t, heads); head != want {
		t.Errorf("head = %q, want %q", head, want)
	}
	wanted := fields("X-b", "1", "x-A", "2", "Set-Cookie", "a", "Set-Cookie", "b")
	if !equalFields(ans.Fields, wanted) || body != "ok" {
		t.Errorf("answer = %v %q, want %v", ans.Fields, body, wanted)
	}
}

func equalFields(a, b invoke.Fields) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// readUntil reads until what was read ends with end; "" if the connection ends.
func readUntil(c net.Conn, end string) string {
	var got bytes.Buffer
	one := make([]byte, 1)
	for !bytes.HasSuffix(got.Bytes(), []byte(end)) {
		if n, err := c.Read(one); n == 0 || err != nil {
			return ""
		}
		got.Write(one)
	}
	return got.String()
}

// Everything that carries a call ends with it, or with Run.
func TestNothingIsLeftBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	a := app.New(app.Config{Name: "orders", Port: port})
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() { do(t, a, post("/", "body")) })
	}
	calls.Wait()
	cancel()
	if err := within.Receive(t, done); err != nil {
		t.Errorf("Run = %v", err)
	}
	if n := a.Inflight(); n != 0 {
		t.Errorf("Inflight = %d after the last answer", n)
	}
	within.Until(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before+3 })
}

func itoa(port uint16) string { return strconv.Itoa(int(port)) }

// fields are header lines given as names and values in turn.
func fields(pairs ...string) invoke.Fields {
	var f invoke.Fields
	for i := 0; i < len(pairs); i += 2 {
		f.Add(pairs[i], pairs[i+1])
	}
	return f
}
