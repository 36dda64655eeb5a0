package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// patience bounds what must happen at once.
const patience = time.Minute

// serve opens a door on loopback and returns its address.
func serve(t *testing.T, cfg httpapi.Config) string {
	t.Helper()
	return serveAs(t, cfg, (*httpapi.Server).Serve)
}

func serveOn(t *testing.T, cfg httpapi.Config, ln net.Listener) (stop func()) {
	t.Helper()
	return serveWith(t, cfg, ln, (*httpapi.Server).Serve)
}

// serveAs opens a door of some kind on loopback and returns its address.
func serveAs(t *testing.T, cfg httpapi.Config, serve func(*httpapi.Server, context.Context, net.Listener) error) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveWith(t, cfg, ln, serve)
	return ln.Addr().String()
}

func serveWith(
	t *testing.T, cfg httpapi.Config, ln net.Listener, serve func(*httpapi.Server, context.Context, net.Listener) error,
) (stop func()) {
	t.Helper()
	self, err := identity.New("public", "default", "todo-api")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Self, cfg.Standard = self, cfg.Standard || standard
	if cfg.Drain == 0 {
		cfg.Drain = 50 * time.Millisecond
	}
	if cfg.Invoke == nil {
		cfg.Invoke = invoke.HandlerFunc(reflectCall)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(httpapi.New(cfg), ctx, ln) }()
	stop = func() {
		cancel()
		select {
		case err := <-ended:
			ended <- nil
			if err != nil {
				t.Errorf("Serve = %v, want nil", err)
			}
		case <-time.After(patience):
			t.Error("Serve has not returned")
		}
	}
	t.Cleanup(stop)
	return stop
}

// seen is a call as reflectCall answers it.
type seen struct {
	App, Namespace, Verb, Path, Host, Upgrade string
	Major                                     int
	Length                                    int64
	Expect                                    bool
	Fields                                    invoke.Fields
	Body                                      string
	Trailers                                  invoke.Fields
}

// reflectCall answers with what it was called with.
// reflectOrMiss is reflectCall, which does not know the app nobody.
func reflectOrMiss(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
	if c.Target.App == "nobody" {
		return nil, &apperr.Error{Reason: apperr.AppNotFound, What: "no such app"}
	}
	return reflectCall(ctx, c)
}

func reflectCall(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
	s := seen{
		App: c.Target.App, Namespace: c.Target.Namespace, Verb: c.Verb, Path: c.Path, Host: c.Host,
		Upgrade: c.Upgrade, Major: c.Major, Length: c.Length, Expect: c.Expect, Fields: c.Fields,
	}
	if c.Body != nil {
		data, err := io.ReadAll(c.Body)
		if err != nil {
			_ = c.Body.Close()
			return nil, &apperr.Error{Reason: apperr.Usage, What: "body: " + err.Error()}
		}
		s.Body, s.Trailers = string(data), c.Body.Trailers()
		_ = c.Body.Close()
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return &invoke.Answer{Status: 200, Major: 1, Body: invoke.BytesBody(data), Length: int64(len(data))}, nil
}

// answerWith is a handler that gives a to each call and reads its body.
func answerWith(a invoke.Answer, body string) invoke.Handler {
	return invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Body != nil {
			_, _ = io.Copy(io.Discard, c.Body)
			_ = c.Body.Close()
		}
		answer := a
		answer.Fields = a.Fields.Clone()
		answer.Body = invoke.BytesBody([]byte(body))
		return &answer, nil
	})
}

// A wire is a raw connection to a door.
type wire struct {
	*net.TCPConn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatal("no TCP connection")
	}
	return &wire{tcp, bufio.NewReader(c)}
}

func (w *wire) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func (w *wire) response(t *testing.T, method string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("body: %v", err)
	}
	_ = resp.Body.Close()
	return resp, string(body)
}

// closed fails if the door still talks.
func (w *wire) closed(t *testing.T) {
	t.Helper()
	rest, err := io.ReadAll(w.r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
	if len(rest) > 0 {
		t.Errorf("the door said more: %q", rest)
	}
}

// ask sends one raw request and returns the answer.
func ask(t *testing.T, addr, text string) (*http.Response, string) {
	t.Helper()
	w := dial(t, addr)
	w.send(t, text)
	method, _, _ := strings.Cut(text, " ")
	return w.response(t, method)
}

// get is a request without body, with further lines.
func get(method, target string, lines ...string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\n%s\r\n\r\n", method, target, strings.Join(append([]string{"Host: localhost"}, lines...), "\r\n"))
}

func reflected(t *testing.T, body string) seen {
	t.Helper()
	var s seen
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("not a reflected call: %q", body)
	}
	return s
}
