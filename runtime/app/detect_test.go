package app_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// tree is an app's process tree as far as its sockets go.
type tree struct {
	mu      sync.Mutex // guards what follows
	sockets []app.Socket
}

func (tr *tree) read() ([]app.Socket, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.sockets), nil
}

func (tr *tree) add(addr net.Addr, name, command string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	at := addr.(*net.TCPAddr).AddrPort()
	tr.sockets = append(tr.sockets, app.Socket{Addr: netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), PID: 1, Name: name, Command: command})
}

func (tr *tree) remove(port uint16) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.sockets = slices.DeleteFunc(tr.sockets, func(s app.Socket) bool { return s.Addr.Port() == port })
}

// opens opens a port of the tree and serves h there.
func (tr *tree) opens(t *testing.T, network, addr string, h http.Handler) uint16 {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Skipf("listen on %s: %v", addr, err)
	}
	serveOn(t, ln, h)
	tr.add(ln.Addr(), "orders", "orders serve")
	return portOf(ln)
}

// building are the processes of an app that may take its time to open a port, as
// one does that starts on a busy machine.
func building() []string { return []string{"go"} }

var said = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "said") })

func TestPortIsDetected(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1:0", "127.0.0.7:0", "[::1]:0", ":0", "0.0.0.0:0"} {
		t.Run(addr, func(t *testing.T) {
			t.Parallel()
			tr := new(tree)
			a, rec := runApp(t, app.Config{Command: true, Sockets: tr.read, Processes: building})
			results := held(t, a, 1, func(int) *invoke.Call { return get("/") }) // it waits for the port to appear
			port := tr.opens(t, "tcp", addr, said)
			if err := within.Receive(t, results); err != nil {
				t.Error(err)
			}
			if a.Port() != port || a.State() != discovery.Ready {
				t.Errorf("Port = %d, want %d; State = %s", a.Port(), port, a.State())
			}
			within.Until(t, "the event", func() bool { return len(rec.all()) > 0 })
			if got, want := rec.all(), (app.Detected{Port: port}); len(got) != 1 || got[0] != want {
				t.Errorf("events = %v, want %v", got, want)
			}
		})
	}
}

func TestHTTP2OnlyPortIsDetected(t *testing.T) {
	t.Parallel()
	tr := new(tree)
	port := serveH2C(t, said)
	tr.add(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)}, "orders", "")
	for _, protocol := range []string{"http", "grpc"} {
		a, rec := runApp(t, app.Config{Command: true, Sockets: tr.read, Protocol: protocol})
		if ans, body := do(t, a, get("/")); ans.Major != 2 || body != "said" {
			t.Errorf("%s: answer over HTTP/%d: %q", protocol, ans.Major, body)
		}
		within.Until(t, "the event", func() bool { return len(rec.all()) > 0 })
		if got, want := rec.all()[0], (app.Detected{Port: port, HTTP2: true}); got != want {
			t.Errorf("%s: event = %v, want %v", protocol, got, want)
		}
	}
}

// What does not speak HTTP is not the app's port, nor is a debugger's, which
// is not even asked.
func TestOtherPortsAreLeftAlone(t *testing.T) {
	t.Parallel()
	tr := new(tree)
	asked := make(chan string, 10)
	silent := raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	tr.add(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(silent)}, "orders", "")
	for name, command := range map[string]string{
		"dlv":        "dlv debug --headless",
		"node":       "node --inspect=127.0.0.1:%d app.js",
		"java":       "java -agentlib:jdwp=transport=dt_socket,server=y,address=*:%d -jar app.jar",
		"python3.12": "python3 -m debugpy --listen %d app.py",
	} {
		port := raw(t, func(c net.Conn) { asked <- name; _, _ = io.Copy(io.Discard, c) })
		if strings.Contains(command, "%d") {
			command = fmt.Sprintf(command, port)
		}
		tr.add(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)}, name, command)
	}
	port := tr.opens(t, "tcp", "127.0.0.1:0", said)
	a, rec := runApp(t, app.Config{Command: true, Sockets: tr.read})
	do(t, a, get("/"))
	if a.Port() != port {
		t.Errorf("Port = %d, want %d; events %v", a.Port(), port, rec.all())
	}
	select {
	case name := <-asked:
		t.Errorf("%s was asked", name)
	default:
	}
}

func TestSeveralPortsAreNamedNotGuessed(t *testing.T) {
	t.Parallel()
	tr := new(tree)
	one := tr.opens(t, "tcp", "127.0.0.1:0", said)
	two := tr.opens(t, "tcp", "127.0.0.1:0", said)
	low, high := min(one, two), max(one, two)
	a, rec := runApp(t, app.Config{Command: true, Sockets: tr.read})
	e := failed(t, a, get("/"))
	want := fmt.Sprintf("orders answers HTTP on %d and %d; start it with --app-port and one of them", low, high)
	if e.Reason != apperr.AppHasNoPort || e.Message() != "app channel is not initialized: "+want {
		t.Errorf("error = %s, %s", e.Reason, e.Message())
	}
	within.Until(t, "the event", func() bool { return len(rec.all()) > 0 })
	if got, ok := rec.all()[0].(app.Candidates); !ok || !slices.Equal(got.Ports, []uint16{low, high}) {
		t.Errorf("event = %v", rec.all()[0])
	}
	// One of them goes: the other one it is.
	tr.remove(low)
	within.Until(t, "the one that is left", func() bool { return a.Port() == high })
	do(t, a, get("/"))
}

func TestWorkersOnOnePortAreOneCandidate(t *testing.T) {
	t.Parallel()
	tr := new(tree)
	port := tr.opens(t, "tcp", "127.0.0.1:0", said)
	for range 3 {
		tr.add(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)}, "worker", "")
		tr.add(&net.TCPAddr{IP: net.IPv6loopback, Port: int(port)}, "worker", "")
	}
	a, rec := runApp(t, app.Config{Command: true, Sockets: tr.read})
	do(t, a, get("/"))
	if a.Port() != port {
		t.Errorf("Port = %d, want %d; events %v", a.Port(), port, rec.all())
	}
}

// A wrong port is said after a while, with what the process listens on, and
// whoever calls hears it.
func TestWrongPortIsSaid(t *testing.T) {
	t.Parallel()
	tr := new(tree)
	listens := tr.opens(t, "tcp", "127.0.0.1:0", said)
	reserved := porttest.Reserve(t)
	port := reserved.Number()
	a, rec := runApp(t, app.Config{Name: "notification-service", Port: port, Command: true, Sockets: tr.read})
	e := failed(t, a, get("/")) // waits until it is sure
	want := fmt.Sprintf("connection refused: notification-service's app port %d is closed, its process listens on %d; start it with --app-port %d",
		port, listens, listens)
	if e.Reason != apperr.AppUnreachable || e.Reached != apperr.ReachedNo || e.Message() != want {
		t.Errorf("error = %s, reached %s\n %s\nwant\n %s", e.Reason, e.Reached, e.Message(), want)
	}
	if e.What != fmt.Sprintf("notification-service's app port %d is closed", port) {
		t.Errorf("What = %q", e.What)
	}
	within.Until(t, "the event", func() bool { return len(rec.all()) > 0 })
	if got, ok := rec.all()[0].(app.WrongPort); !ok || got.Want != port || !slices.Equal(got.Listens, []uint16{listens}) {
		t.Errorf("event = %v", rec.all()[0])
	}
	// It was only late.
	late := reserved.Listen(t)
	serveOn(t, late, said)
	tr.add(late.Addr(), "notification-service", "")
	within.Until(t, "ready", func() bool { return a.State() == discovery.Ready })
	do(t, a, get("/"))
}

// A port that a stranger's program holds is not the app's, however open it is.
func TestAStrangersPortIsNotTheApps(t *testing.T) {
	t.Parallel()
	stranger := listen(t)
	var strangers atomic.Int64
	serveOn(t, stranger, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strangers.Add(1) }))
	tr := new(tree)
	listens := tr.opens(t, "tcp", "127.0.0.1:0", said)
	a, rec := runApp(t, app.Config{Name: "orders", Port: portOf(stranger), Command: true, Sockets: tr.read})
	if e := failed(t, a, get("/")); e.Reason != apperr.AppUnreachable || e.Reached != apperr.ReachedNo {
		t.Errorf("error = %v, reached %s", e, e.Reached)
	}
	if n := strangers.Load(); n != 0 {
		t.Errorf("the stranger got %d calls", n)
	}
	within.Until(t, "the event", func() bool { return len(rec.all()) > 0 })
	if got, ok := rec.all()[0].(app.WrongPort); !ok || !slices.Equal(got.Listens, []uint16{listens}) {
		t.Errorf("event = %v", rec.all()[0])
	}
}

// An app whose detected port closes and opens again is the same app.
func TestDetectedPortThatCloses(t *testing.T) {
	t.Parallel()
	tr := new(tree)
	ln := porttest.Reserve(t).Listen(t)
	srv := serveOn(t, ln, said)
	tr.add(ln.Addr(), "orders", "")
	a, rec := runApp(t, app.Config{Command: true, Sockets: tr.read})
	do(t, a, get("/"))
	tr.remove(portOf(ln))
	_ = srv.Close()
	results := held(t, a, 2, func(int) *invoke.Call { return get("/") })
	within.Until(t, "the port to be seen closed", func() bool { return a.State() == discovery.Restarting })
	// Its next process opens another one.
	port := tr.opens(t, "tcp", "127.0.0.1:0", said)
	for range 2 {
		if err := within.Receive(t, results); err != nil {
			t.Error(err)
		}
	}
	if a.Port() != port {
		t.Errorf("Port = %d, want %d", a.Port(), port)
	}
	within.Until(t, "both events", func() bool { return len(rec.all()) == 2 })
}

// A real process that opens its port after a while, beside a Unix socket.
func TestRealProcessIsDetected(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	reserved := porttest.Reserve(t)
	addr, port := reserved.Addr(), reserved.Number()
	cmd := exec.CommandContext(t.Context(), python, "-m", "http.server", "--bind", "127.0.0.1", reserved.String())
	cmd.Dir = t.TempDir()
	if err := os.WriteFile(cmd.Dir+"/hello", []byte("from python"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	sockets := func() ([]app.Socket, error) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return nil, nil //nolint:nilerr // it does not listen yet
		}
		_ = c.Close()
		return []app.Socket{{Addr: netip.MustParseAddrPort(addr), PID: cmd.Process.Pid, Name: "python3"}}, nil
	}
	a, _ := runApp(t, app.Config{Command: true, Sockets: sockets, Processes: building})
	if ans, body := do(t, a, get("/hello")); ans.Status != 200 || body != "from python" || a.Port() != port {
		t.Errorf("answer = %d %q from port %d", ans.Status, body, a.Port())
	}
}

// Simple servers print a traceback for a client that resets its connection.
func TestTheAppSeesNoResetWhenItIsAsked(t *testing.T) {
	t.Parallel()
	tr := new(tree)
	ended := make(chan error, 16)
	port := raw(t, func(c net.Conn) {
		readUntil(c, "\r\n\r\n")
		body := strings.Repeat("no", 2048)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 501 Not Implemented\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
		_ = c.(*net.TCPConn).CloseWrite()
		_, err := c.Read(make([]byte, 1))
		ended <- err
	})
	tr.add(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)}, "orders", "orders serve")
	runApp(t, app.Config{Command: true, Sockets: tr.read})
	// One that got no answer in time is reset, and the app is asked again; one that
	// got it is the last.
	for !errors.Is(within.Receive(t, ended), io.EOF) {
	}
}
