package difftest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
	"github.com/pillion-dev/pillion/tls/ca"
)

// callee is the app's ID.
const callee = "app"

// A target is an app on raw sockets, and two sidecars in front of it.
type target struct {
	t        *testing.T
	protocol string
	ln       net.Listener
	callers  map[string]rundir.Entry // the caller's sidecar

	mu     sync.Mutex // guards what follows
	runs   map[string]*run
	number int
	strays []string // requests of no run
	conns  map[net.Conn]bool
	work   sync.WaitGroup
}

// newTarget starts an app and its sidecars, which run with the engine given.
func newTarget(t *testing.T, protocol, engine string) *target {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := &target{t: t, protocol: protocol, ln: ln, runs: map[string]*run{}, conns: map[net.Conn]bool{}, callers: map[string]rundir.Entry{}}
	at.work.Go(at.serve)
	t.Cleanup(at.close)
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	w := newWorld(t)
	w.start(config.Sidecar{AppID: callee, AppPort: port, AppProtocol: protocol, Engine: engine})
	at.callers["caller"] = w.start(config.Sidecar{AppID: "caller", Engine: engine})
	return at
}

func (t *target) http2() bool {
	return t.protocol == "h2c" || t.protocol == "grpc" || t.protocol == "grpcs"
}

func (t *target) secure() bool { return t.protocol == "https" || t.protocol == "grpcs" }

// address is where a form's client connects to.
func (t *target) address(f form) string {
	caller := t.callers["caller"]
	switch {
	case f == direct:
		return t.ln.Addr().String()
	case f == headerForm && t.http2():
		return "127.0.0.1:" + strconv.Itoa(int(caller.GRPCPort))
	default:
		return "127.0.0.1:" + strconv.Itoa(int(caller.HTTPPort))
	}
}

// host is the authority the client names.
func (t *target) host(f form) string { return t.address(f) }

// path is a request's target as the form writes it.
func (t *target) path(f form, path string) string {
	if f == pathForm && strings.HasPrefix(path, "/") {
		return "/v1.0/invoke/" + callee + "/method" + path
	}
	return path
}

// dial connects a form's client.
func (t *target) dial(ctx context.Context, f form) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", t.address(f))
	if err != nil || f != direct || !t.secure() {
		return c, err
	}
	next := "http/1.1"
	if t.http2() {
		next = "h2"
	}
	secured := tls.Client(c, &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, NextProtos: []string{next}})
	return secured, secured.HandshakeContext(ctx)
}

// newRun registers a run, so that the app knows its requests.
func (t *target) newRun(c *testCase, f form) *run {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.number++
	r := newRun(c, f, fmt.Sprintf("%06d", t.number), t)
	t.runs[r.id] = r
	return r
}

// end forgets what a run has recorded, but not the run: something of it may
// still be on its way, and what must not reach the app is looked for at the end.
func (t *target) end(r *run) {
	if takesNoApp(r.c.differs) {
		return
	}
	r.update(func() { r.requests, r.answers, r.marks = nil, nil, nil })
}

// late are requests that came to the app although nothing, or nothing whole,
// may.
func (t *target) late() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := slices.Clone(t.strays)
	for _, r := range t.runs {
		r.mu.Lock()
		for _, m := range r.requests {
			if takesNoApp(r.c.differs) && (m.end == ended || r.c.differs != "broken") {
				out = append(out, r.c.at+": "+m.start)
			}
		}
		r.mu.Unlock()
	}
	return out
}

// runOf is the run a request belongs to.
func (t *target) runOf(m *message) *run {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := strings.TrimSpace(m.get(caseField))
	r := t.runs[id]
	if r == nil {
		t.strays = append(t.strays, fmt.Sprintf("%s of run %q", m.start, id))
	}
	return r
}

// serve takes the app's connections.
func (t *target) serve() {
	var cfg *tls.Config
	if t.secure() {
		cfg = selfSigned(t.t, t.http2())
	}
	for {
		c, err := t.ln.Accept()
		if err != nil {
			return
		}
		if cfg != nil {
			c = tls.Server(c, cfg)
		}
		t.mu.Lock()
		t.conns[c] = true
		t.mu.Unlock()
		t.work.Go(func() {
			if t.http2() {
				t.serve2(c)
			} else {
				t.serve1(c)
			}
			t.mu.Lock()
			delete(t.conns, c)
			t.mu.Unlock()
		})
	}
}

func (t *target) close() {
	_ = t.ln.Close() // nobody is served any more
	t.mu.Lock()
	for c := range t.conns {
		_ = c.Close() // nobody is served any more
	}
	t.mu.Unlock()
	t.work.Wait()
}

// A world is a home and a runtime folder for sidecars that know each other.
type world struct {
	t    *testing.T
	home config.Home
	base string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, home: config.Home{Path: filepath.Join(dir, "home")}, base: filepath.Join(dir, "run")}
	if err := os.Mkdir(w.base, 0o700); err != nil {
		t.Fatal(err)
	}
	return w
}

// start runs a sidecar until the test ends, and waits until it can be used.
func (w *world) start(cfg config.Sidecar) rundir.Entry {
	w.t.Helper()
	cfg.Discovery = []string{"local"}
	ready := make(chan struct{}, 16)
	var mu sync.Mutex
	var said bytes.Buffer
	env := sidecar.Env{
		Home:    w.home,
		Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.t.TempDir(), "PILLION_RUNTIME_DIR=" + w.base},
		Out:     &said, Err: &said,
		Say: func(n sidecar.Notice) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(&said, n)
			if strings.Contains(n.Text, "is ready") || strings.Contains(n.Text, "is up") {
				ready <- struct{}{}
			}
		},
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	ended := make(chan error, 1)
	go func() {
		_, err := sidecar.Run(ctx, cfg, env)
		ended <- err
	}()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("%s: %v", cfg.AppID, err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		w.t.Fatalf("%s ended: %v", cfg.AppID, err)
	}
	return w.entry(cfg.AppID)
}

func (w *world) entry(app string) rundir.Entry {
	w.t.Helper()
	authority, err := ca.Open(w.home.Certs(), ca.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	dir, err := rundir.Open(w.base, authority.Fingerprint())
	if err != nil {
		w.t.Fatal(err)
	}
	live, err := dir.Entries()
	for _, e := range live {
		if e.App == app {
			return e
		}
	}
	w.t.Fatal(errors.Join(err, fmt.Errorf("%s has no entry", app)))
	return rundir.Entry{}
}

// fields are the lines that make a request the run's, and name the app.
func (r *run) fields() string {
	text := caseField + ": " + r.id + "\r\n"
	if r.form == headerForm {
		text += "dapr-app-id: " + callee + "\r\n"
	}
	return text
}

// filled is text with what a case cannot know put in.
func (r *run) filled(text string) string {
	if !strings.Contains(text, "$") {
		return text
	}
	prefix := strings.TrimSuffix(r.at.path(r.form, "/"), "/")
	return strings.NewReplacer(
		"$CASE", strings.TrimSuffix(r.fields(), "\r\n"), "$M", prefix, "$A", r.at.host(r.form),
	).Replace(text)
}
