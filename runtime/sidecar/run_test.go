//go:build unix

package sidecar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/daprlog"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/filewatch"
	"github.com/pillion-dev/pillion/runtime/sidecar"
	"github.com/pillion-dev/pillion/tls/ca"
)

// patience bounds every wait. It is long because a machine may be busy;
// nothing waits for it to pass.
const patience = time.Minute

// actEnv makes the test binary an app.
const actEnv = "SIDECAR_TEST_ACT"

// What the app does.
const (
	actEnviron = "environ" // prints its environment and ends
	actServe   = "serve"   // listens, and ends with SIGTERM
	actCall    = "call"    // listens; on SIGTERM it calls other first
	actDeaf    = "deaf"    // listens, and hears no SIGTERM
	actFail    = "fail"    // ends with status 3
	actDie     = "die"     // dies of SIGKILL
	actStuck   = "stuck"   // if there is a file stuck in its folder, it serves only once there is one called free
	actStray   = "stray"   // serves on a port of its own if there is a file stray in its folder
	actFlaky   = "flaky"   // fails as often as the file flaky in its folder has bytes, and then serves
)

func TestMain(m *testing.M) {
	http.DefaultClient.Timeout = patience // no test waits for longer
	switch os.Getenv(actEnv) {
	case "":
		os.Exit(m.Run())
	case actEnviron:
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case actFail:
		os.Exit(3)
	case actFlaky:
		left, err := os.ReadFile("flaky")
		if err == nil && len(left) > 0 {
			if err := os.WriteFile("flaky", left[1:], 0o600); err == nil {
				fmt.Println("flaky")
				os.Exit(3)
			}
		}
		act(actServe)
	case actStuck:
		if _, err := os.Stat("stuck"); err == nil {
			fmt.Println("stuck")
			for err = os.ErrNotExist; err != nil; _, err = os.Stat("free") {
				time.Sleep(time.Millisecond) // between looks at a condition
			}
		}
		act(actServe)
	case actStray:
		if _, err := os.Stat("stray"); err == nil {
			_ = os.Setenv("PORT", "0") // a name without a zero byte
		}
		act(actServe)
	case actDie:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	default:
		act(os.Getenv(actEnv))
	}
}

// act is an app that listens. GET /hold answers once there was a GET /release.
func act(how string) {
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/hold", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Println("holding")
		<-release
		_, _ = io.WriteString(w, "held")
	})
	mux.HandleFunc("/release", func(http.ResponseWriter, *http.Request) { close(release) })
	mux.HandleFunc("/pid", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, os.Getpid()) })
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(4) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	go func() {
		panic(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), mux))
	}()
	fmt.Printf("guard %d\n", os.Getppid())
	for {
		<-terms
		fmt.Println("SIGTERM")
		if how == actDeaf {
			continue
		}
		if how == actCall {
			answer, err := http.Get("http://127.0.0.1:" + os.Getenv("DAPR_HTTP_PORT") + "/v1.0/invoke/other/method/x")
			if err != nil {
				fmt.Println("outbound failed:", err)
				os.Exit(1)
			}
			body, _ := io.ReadAll(answer.Body)
			fmt.Println("outbound", answer.StatusCode, string(body))
		}
		os.Exit(0)
	}
}

// A place is a home and a runtime folder of a test's own.
type place struct {
	t     *testing.T
	home  config.Home
	base  string
	files *filewatch.Watcher // that the sidecars share; nil: they have their own
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{t: t, home: config.Home{Path: filepath.Join(dir, "home")}, base: filepath.Join(dir, "run")}
	if err := os.Mkdir(p.base, 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

// entries are the live instances.
func (p *place) entries() []rundir.Entry {
	p.t.Helper()
	authority, err := ca.Open(p.home.Certs(), ca.Options{})
	if errors.Is(err, ca.ErrNotMade) {
		return nil
	}
	if err != nil {
		p.t.Fatal(err)
	}
	dir, err := rundir.Open(p.base, authority.Fingerprint())
	if err != nil {
		p.t.Fatal(err)
	}
	live, err := dir.Entries()
	if err != nil {
		p.t.Fatal(err)
	}
	return live
}

// A run is a sidecar that runs, with its app.
type run struct {
	t      *testing.T
	stop   context.CancelFunc
	hurry  chan struct{}
	ended  chan struct{} // closed behind exit and err
	exit   int
	err    error
	mu     sync.Mutex // guards what follows
	out    bytes.Buffer
	said   []sidecar.Notice
	change chan struct{} // closed and made anew with each change
}

// start runs an app that does what act says; an empty one runs the sidecar
// alone. It ends with the test.
func (p *place) start(act string, cfg config.Sidecar, environ ...string) *run {
	p.t.Helper()
	r := &run{t: p.t, hurry: make(chan struct{}), ended: make(chan struct{}), change: make(chan struct{})}
	if act != "" && !slices.Contains(cfg.Command, builtApp) {
		self, err := os.Executable()
		if err != nil {
			p.t.Fatal(err)
		}
		cfg.Command = append([]string{self}, cfg.Command...)
	}
	if cfg.AppID == "" {
		cfg.AppID = "app"
	}
	if cfg.Discovery == nil {
		cfg.Discovery = []string{"local"}
	}
	// What waits, waits for as long as a busy machine takes.
	if cfg.Hold == 0 {
		cfg.Hold = 2 * patience
	}
	if cfg.Grace == 0 {
		cfg.Grace = 2 * patience
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	r.stop = cancel
	env := sidecar.Env{
		Home: p.home, Environ: append([]string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + p.t.TempDir(), "PILLION_RUNTIME_DIR=" + p.base, actEnv + "=" + act,
		}, environ...),
		Out: r, Err: r, Say: r.say, Hurry: r.hurry, Files: p.files,
	}
	if cfg.Profile.AsDaprd {
		env.Records = daprlog.New(r, daprlog.Options{AppID: cfg.AppID})
	}
	go func() {
		defer close(r.ended)
		r.exit, r.err = sidecar.Run(ctx, cfg, env)
	}()
	p.t.Cleanup(func() { cancel(); <-r.ended })
	return r
}

func (r *run) changed() {
	close(r.change)
	r.change = make(chan struct{})
}

// Write takes the app's output.
func (r *run) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.changed()
	return r.out.Write(b)
}

func (r *run) say(n sidecar.Notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.changed()
	r.said = append(r.said, n)
}

func (r *run) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

func (r *run) notices() []sidecar.Notice {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.said)
}

// notice is the first one whose sentence holds text.
func (r *run) notice(text string) (sidecar.Notice, bool) {
	all := r.notices()
	i := slices.IndexFunc(all, func(n sidecar.Notice) bool { return strings.Contains(n.Text, text) })
	if i < 0 {
		return sidecar.Notice{}, false
	}
	return all[i], true
}

// await waits until what is looked for is there.
func (r *run) await(what string, is func() bool) {
	r.t.Helper()
	limit := time.After(patience)
	for {
		r.mu.Lock()
		change := r.change
		r.mu.Unlock()
		if is() {
			return
		}
		select {
		case <-change:
		case <-r.ended:
			if !is() {
				r.t.Fatalf("ended without %s: exit %d, %v\n%s%v", what, r.exit, r.err, r.output(), r.notices())
			}
			return
		case <-limit:
			r.t.Fatalf("no %s\n%s%v", what, r.output(), r.notices())
		}
	}
}

func (r *run) awaitNotice(text string) sidecar.Notice {
	r.t.Helper()
	r.await("notice "+text, func() bool { _, ok := r.notice(text); return ok })
	n, _ := r.notice(text)
	return n
}

func (r *run) awaitOutput(text string) {
	r.t.Helper()
	r.await("output "+text, func() bool { return strings.Contains(r.output(), text) })
}

// end waits for the end and returns the app's exit status.
func (r *run) end() int {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.t.Fatalf("it does not end\n%s%v", r.output(), r.notices())
	}
	if r.err != nil {
		r.t.Fatalf("Run = %v", r.err)
	}
	return r.exit
}

// failed waits for the end and returns why it failed.
func (r *run) failed() error {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.t.Fatalf("it does not end\n%s%v", r.output(), r.notices())
	}
	if r.err == nil {
		r.t.Fatalf("it ran, exit %d\n%s%v", r.exit, r.output(), r.notices())
	}
	return r.err
}

// ready waits until the app can be called and returns its entry.
func (p *place) ready(r *run, app string) rundir.Entry {
	p.t.Helper()
	r.awaitNotice("is ready")
	for _, e := range p.entries() {
		if e.App == app {
			return e
		}
	}
	p.t.Fatalf("%s has no entry: %v", app, p.entries())
	return rundir.Entry{}
}
