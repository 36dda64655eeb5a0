package httpapi_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

type ctxT = context.Context

func TestStoppingLetsOpenRequestsEnd(t *testing.T) {
	t.Parallel()
	for _, major := range []int{1, 2} {
		ln := porttest.Reserve(t).Listen(t) // nobody else is there when it is closed
		began, end := make(chan struct{}), make(chan struct{})
		stop := serveOn(t, httpapi.Config{Drain: patience, Invoke: invoke.HandlerFunc(func(ctx ctxT, c *invoke.Call) (*invoke.Answer, error) {
			close(began)
			select {
			case <-end:
			case <-ctx.Done():
				t.Error("the call was cut off")
			}
			return reflectCall(ctx, c)
		})}, ln)
		got := make(chan error, 1)
		go func() {
			resp, err := client(t, major).Get("http://" + ln.Addr().String() + callX)
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			got <- err
		}()
		within.Receive(t, began)
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		within.Until(t, "new connections to be refused", func() bool {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
		close(end)
		if err := within.Receive(t, got); err != nil {
			t.Errorf("HTTP/%d: %v", major, err)
		}
		within.Receive(t, stopped)
	}
}

func TestStoppingCutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan struct{})
	stop := serveOn(t, httpapi.Config{Invoke: invoke.HandlerFunc(func(ctx ctxT, _ *invoke.Call) (*invoke.Answer, error) {
		close(began)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})}, ln)
	w := dial(t, ln.Addr().String())
	w.send(t, get("GET", callX))
	within.Receive(t, began)
	stop()
	if rest, _ := io.ReadAll(w.r); strings.Contains(string(rest), "200 OK") {
		t.Errorf("%q", rest)
	}
}

// Browsers open connections before they need them, and clients keep theirs.
func TestStoppingDoesNotWaitForConnectionsWithoutARequest(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := serveOn(t, httpapi.Config{Drain: time.Hour}, ln)
	silent := dial(t, ln.Addr().String())
	for _, major := range []int{1, 2} {
		resp, err := client(t, major).Get("http://" + ln.Addr().String() + callX)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	stop()
	silent.closed(t)
}

func TestConnectionsWaitWhileThereAreTooMany(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{MaxConns: 2})
	first, second := dial(t, addr), dial(t, addr)
	for _, w := range []*wire{first, second} {
		w.send(t, get("GET", "/v1.0/healthz"))
		w.response(t, "GET")
	}
	third := dial(t, addr)
	third.send(t, get("GET", "/v1.0/healthz"))
	_ = third.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if b, err := third.r.Peek(1); err == nil {
		t.Fatalf("a third connection was answered: %q", b)
	}
	_ = third.SetReadDeadline(time.Now().Add(patience))
	_ = first.Close()
	if resp, _ := third.response(t, "GET"); resp.StatusCode != 204 {
		t.Errorf("%d", resp.StatusCode)
	}
}

func TestAUnixSocketIsADoorToo(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "door") //nolint:usetesting // t.TempDir's path may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ln, err := net.Listen("unix", dir+"/s")
	if err != nil {
		t.Skip("no unix sockets: ", err)
	}
	serveOn(t, httpapi.Config{}, ln)
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx ctxT, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", dir+"/s")
	}}}
	defer c.CloseIdleConnections()
	resp, err := c.Get("http://localhost" + callX)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
}

func TestCurlIsServed(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("needs curl")
	}
	addr := serve(t, httpapi.Config{})
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"path":         {"-d", "hello", "http://" + addr + callX},
		"header":       {"-d", "hello", "-H", "dapr-app-id: app", "http://" + addr + "/x"},
		"credentials":  {"-d", "hello", "http://dapr-app-id:app@" + addr + "/x"},
		"host":         {"-d", "hello", "--resolve", "app.localhost:" + port + ":127.0.0.1", "http://app.localhost:" + port + "/x"},
		"h2c":          {"-d", "hello", "--http2-prior-knowledge", "http://" + addr + callX},
		"h2c upgrade":  {"-d", "hello", "--http2", "http://" + addr + callX},
		"proxy":        {"-d", "hello", "-x", "http://" + addr, "--noproxy", "", "http://app.localhost/x"},
		"chunked":      {"-d", "hello", "-H", "Transfer-Encoding: chunked", "http://" + addr + callX},
		"expect":       {"-d", "hello", "-H", "Expect: 100-continue", "http://" + addr + callX},
		"HTTP/1.0":     {"-d", "hello", "--http1.0", "http://" + addr + callX},
		"path as is":   {"-d", "hello", "--path-as-is", "http://" + addr + "/v1.0/invoke/app/method//x"},
		"unusual verb": {"-d", "hello", "-X", "POST", "http://" + addr + callX},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), curl, append([]string{"-sS", "--max-time", "60"}, args...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("curl %q: %v: %s", args, err, out)
			}
			if got := reflected(t, string(out)); got.App != "app" || got.Path != "/x" || got.Verb != "POST" || got.Body != "hello" {
				t.Errorf("curl %q: %s", args, out)
			}
		})
	}
}
