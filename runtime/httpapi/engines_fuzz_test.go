package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// openDoor opens a door on loopback, with the engine that cfg says.
func openDoor(tb testing.TB, cfg httpapi.Config) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	openDoorOn(tb, cfg, ln)
	return ln.Addr().String()
}

func openDoorOn(tb testing.TB, cfg httpapi.Config, ln net.Listener) {
	tb.Helper()
	var err error
	if cfg.Self, err = identity.New("public", "default", "todo-api"); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	ended := make(chan error, 1)
	s := httpapi.New(cfg)
	go func() { ended <- s.Serve(ctx, ln) }()
	tb.Cleanup(func() {
		cancel()
		if err := within.Receive(tb, ended); err != nil {
			tb.Error(err)
		}
	})
}

// A recorder is a door on a unix socket, which needs no ports, and the calls
// that came through it.
type recorder struct {
	path  string
	mu    sync.Mutex // guards what follows
	calls []seen
}

func newRecorder(tb testing.TB, dir string, standardEngine bool) *recorder {
	tb.Helper()
	r := &recorder{path: filepath.Join(dir, fmt.Sprintf("s%v", standardEngine))}
	ln, err := net.Listen("unix", r.path)
	if err != nil {
		tb.Skip("no unix sockets: ", err)
	}
	openDoorOn(tb, httpapi.Config{Invoke: r, Standard: standardEngine}, ln)
	return r
}

func (r *recorder) Serve(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
	s := seen{
		App: c.Target.App, Namespace: c.Target.Namespace, Verb: c.Verb, Path: c.Path, Host: c.Host,
		Upgrade: c.Upgrade, Length: c.Length, Expect: c.Expect, Fields: c.Fields.Clone(),
	}
	if c.Body != nil {
		data, err := io.ReadAll(c.Body)
		s.Body, s.Trailers = string(data), c.Body.Trailers().Clone()
		_ = c.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, s)
	return &invoke.Answer{Status: 200, Body: invoke.BytesBody(nil)}, nil
}

// ask sends data on a connection of its own and returns the calls it was.
func (r *recorder) ask(t testing.TB, data []byte) []seen {
	t.Helper()
	c, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = c.Write(data) // it may be refused before it is sent
	_ = c.(*net.UnixConn).CloseWrite()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s is not done with %q", r.path, data)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// asNetHTTP is a call as net/http would have it: it sorts the fields, writes
// their names its own way, joins the announced trailers and mends Pragma.
func asNetHTTP(s *seen) {
	for _, fields := range []*invoke.Fields{&s.Fields, &s.Trailers} {
		fields.Del("Trailer")
		if fields.Has("Pragma") {
			fields.Del("Cache-Control")
		}
		for i := range *fields {
			(*fields)[i].Name = http.CanonicalHeaderKey((*fields)[i].Name)
		}
		slices.SortStableFunc(*fields, func(a, b invoke.Field) int { return strings.Compare(a.Name, b.Name) })
	}
}

func equalCalls(a, b seen) bool {
	asNetHTTP(&a)
	asNetHTTP(&b)
	sameFields, sameTrailers := slices.Equal(a.Fields, b.Fields), slices.Equal(a.Trailers, b.Trailers)
	a.Fields, b.Fields, a.Trailers, b.Trailers = nil, nil, nil, nil
	return sameFields && sameTrailers && a.App == b.App && a.Namespace == b.Namespace && a.Verb == b.Verb && a.Path == b.Path &&
		a.Host == b.Host && a.Upgrade == b.Upgrade && a.Length == b.Length && a.Expect == b.Expect && a.Body == b.Body
}

// FuzzEngines gives both engines the same bytes. A call that both take must be
// the same call; one may refuse what the other takes.
func FuzzEngines(f *testing.F) {
	const head = "POST " + callX + " HTTP/1.1\r\nHost: localhost\r\n"
	const plain = "GET " + callX + " HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, seed := range []string{
		plain + plain,
		"GET /a%zz?%2F#x HTTP/1.1\r\nHost: app.localhost:1\r\n\r\n" + plain,
		"GET http://app.localhost/a?b HTTP/1.1\r\nHost: other\r\n\r\n" + plain,
		"GET / HTTP/1.0\r\ndapr-app-id: app\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\ndapr-app-id: app\r\n\r\n",
		head + "Content-Length: 3\r\n\r\nabc" + plain, head + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + plain,
		head + "Transfer-Encoding: chunked\r\nTrailer: T\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: v\r\n\r\n" + plain,
		head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + plain,
		head + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + plain,
		head + "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n" + plain,
		head + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" + plain,
		head + "Connection: close, x-a\r\nX-A: 1\r\n\r\n" + plain,
		head + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n" + plain,
		head + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc" + plain,
		head + "dapr-app-id: a\r\nDAPR-APP-ID: b\r\npillion-timeout: 5s\r\ndapr-api-token: t\r\n\r\n" + plain,
		head + "Authorization: Basic ZGFwci1hcHAtaWQ6YXBw\r\nPragma: no-cache\r\n\r\n" + plain,
		head + "Origin: http://evil.example\r\n\r\n" + plain, head + "Origin: http://localhost\r\nSec-Fetch-Site: same-site\r\n\r\n",
		head + "X: a\r\n b\r\n\r\n" + plain, head + "X: a\nY: b\r\n\r\n" + plain, head + "X: a\rb\r\n\r\n" + plain,
		head + "X : a\r\n\r\n" + plain, head + ": a\r\n\r\n" + plain, head + "Host: other\r\n\r\n" + plain,
		"\r\n" + plain, "GET  " + callX + " HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET " + callX + " HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	dir, err := os.MkdirTemp("", "door") // f.TempDir may be too long a path for a socket
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	fast, slow := newRecorder(f, dir, false), newRecorder(f, dir, true)
	for _, r := range []*recorder{fast, slow} {
		if calls := r.ask(f, []byte(plain+plain)); len(calls) != 2 {
			f.Fatalf("%s: %d calls of two", r.path, len(calls))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := fast.ask(t, data), slow.ask(t, data)
		for i := range min(len(a), len(b)) {
			if !equalCalls(a[i], b[i]) {
				t.Errorf("call %d of %q:\nfast     %+v\nstandard %+v", i, data, a[i], b[i])
			}
		}
	})
}
