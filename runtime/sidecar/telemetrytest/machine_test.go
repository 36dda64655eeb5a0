// Package telemetrytest_test holds what sidecars tell to its word: two of them
// with a real app, and what a collector and a scraper get to see.
package telemetrytest_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
	"github.com/pillion-dev/pillion/tls/ca"
)

// A machine is a home and a runtime folder of a test's own.
type machine struct {
	t    testing.TB
	home config.Home
	base string
}

func newMachine(t testing.TB) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, home: config.Home{Path: filepath.Join(dir, "home")}, base: filepath.Join(dir, "run")}
	if err := os.Mkdir(m.base, 0o700); err != nil {
		t.Fatal(err)
	}
	return m
}

// A side is a sidecar that runs.
type side struct {
	t     testing.TB
	door  string // its HTTP door
	grpc  string
	entry rundir.Entry
	stop  context.CancelFunc
	ended chan struct{} // closed behind err
	err   error

	mu   sync.Mutex // guards what follows
	said []sidecar.Notice
}

// run starts a sidecar and waits until its app is ready, if it has a port.
func (m *machine) run(cfg config.Sidecar, environ ...string) *side {
	m.t.Helper()
	if cfg.Discovery == nil {
		cfg.Discovery = []string{"local"}
	}
	ctx, cancel := context.WithCancel(m.t.Context())
	s := &side{t: m.t, stop: cancel, ended: make(chan struct{})}
	env := sidecar.Env{
		Home: m.home, Environ: append([]string{"HOME=" + m.t.TempDir(), "PILLION_RUNTIME_DIR=" + m.base}, environ...),
		Out: io.Discard, Err: io.Discard, Say: s.say,
	}
	go func() {
		defer close(s.ended)
		_, s.err = sidecar.Run(ctx, cfg, env)
	}()
	m.t.Cleanup(s.end)
	wanted := "sidecar is up"
	if cfg.AppPort != 0 {
		wanted = "is ready"
	}
	within.Until(m.t, cfg.AppID+" to be up", func() bool {
		select {
		case <-s.ended:
			m.t.Fatalf("%s ended: %v", cfg.AppID, s.err)
		default:
		}
		return len(s.notices(wanted)) > 0
	})
	for _, e := range m.entries() {
		if e.App == cfg.AppID {
			s.entry = e
		}
	}
	s.door = "127.0.0.1:" + strconv.Itoa(int(s.entry.HTTPPort))
	s.grpc = "127.0.0.1:" + strconv.Itoa(int(s.entry.GRPCPort))
	return s
}

func (m *machine) entries() []rundir.Entry {
	m.t.Helper()
	authority, err := ca.Open(m.home.Certs(), ca.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	dir, err := rundir.Open(m.base, authority.Fingerprint())
	if err != nil {
		m.t.Fatal(err)
	}
	live, err := dir.Entries()
	if err != nil {
		m.t.Fatal(err)
	}
	return live
}

func (s *side) say(n sidecar.Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, n)
}

// notices are those whose sentence holds text.
func (s *side) notices(text string) []sidecar.Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []sidecar.Notice
	for _, n := range s.said {
		if strings.Contains(n.Text, text) {
			out = append(out, n)
		}
	}
	return out
}

// end stops the sidecar and waits for its end.
func (s *side) end() {
	s.stop()
	<-s.ended
}

// listen is a listener of loopback, and its port.
func listen(t testing.TB) (net.Listener, uint16) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln, uint16(ln.Addr().(*net.TCPAddr).Port)
}

// An app is an HTTP app that remembers the fields it was last sent.
type app struct {
	port uint16
	mu   sync.Mutex // guards what follows
	got  http.Header
}

// newApp serves h, or an answer that says hello.
func newApp(t testing.TB, h http.HandlerFunc) *app {
	t.Helper()
	ln, port := listen(t)
	a := &app{port: port}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			return // the probe
		}
		a.mu.Lock()
		a.got = r.Header.Clone()
		a.mu.Unlock()
		if h != nil {
			h(w, r)
			return
		}
		_, _ = io.WriteString(w, "hello")
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) }) // until Close
	t.Cleanup(func() { _ = srv.Close(); serving.Wait() })
	return a
}

func (a *app) fields() http.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got
}

// ask sends a request with fields, in pairs, and returns the answer, read.
func ask(t testing.TB, verb, url, body string, pairs ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(within.Context(t), verb, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Add(pairs[i], pairs[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}
