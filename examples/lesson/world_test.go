package lesson_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait. It is long because a machine may be busy;
// nothing waits for it to pass.
const patience = time.Minute

// A world is a home of its own with the apps that run in it.
type world struct {
	t   *testing.T
	dir string
	env []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, dir: dir}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "PILLION_") || strings.HasPrefix(name, "DAPR_") || strings.HasPrefix(name, "APP_") ||
			name == "PORT" || name == "HOME" || name == "NAMESPACE" {
			continue
		}
		w.env = append(w.env, kv)
	}
	w.env = append(w.env, "HOME="+dir, "PILLION_HOME="+filepath.Join(dir, "home"), "PILLION_RUNTIME_DIR="+filepath.Join(dir, "run"),
		"CALL_TIMEOUT="+patience.String()) // of the services
	return w
}

// pillion runs a command of pillion to its end.
func (w *world) pillion(args ...string) (out, errs string, status int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, program("pillion"), args...)
	c.Env, c.Dir = w.env, w.dir
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("pillion %v: %v", args, err)
	}
	return o.String(), e.String(), c.ProcessState.ExitCode()
}

// invoke is a call that must succeed; it gives the answer's body.
func (w *world) invoke(args ...string) string {
	w.t.Helper()
	out, errs, status := w.pillion(append([]string{"invoke"}, args...)...)
	if status != 0 {
		w.t.Fatalf("pillion invoke %q: exit %d\n%s%s", args, status, out, errs)
	}
	return out
}

// logged waits until `pillion logs` has a line of the app with the text.
func (w *world) logged(app, text string) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	c := exec.CommandContext(ctx, program("pillion"), "logs", app, "--follow")
	c.Env, c.Dir = w.env, w.dir
	follower := start(w.t, c)
	follower.await(text)
	cancel()
	<-follower.gone
}

// An instance is an app as `pillion list` knows it.
type instance struct {
	AppID         string   `json:"appId"`
	HTTPPort      int      `json:"httpPort"`
	Identity      string   `json:"identity"`
	MeshAddresses []string `json:"meshAddresses"`
}

func (w *world) list() []instance {
	w.t.Helper()
	out, errs, status := w.pillion("list", "-o", "json")
	var all []instance
	if err := json.Unmarshal([]byte(out), &all); err != nil || status != 0 {
		w.t.Fatalf("pillion list: %v, exit %d\n%s%s", err, status, out, errs)
	}
	return all
}

func (w *world) instance(app string) instance {
	w.t.Helper()
	for _, i := range w.list() {
		if i.AppID == app {
			return i
		}
	}
	w.t.Fatalf("pillion list does not show %s", app)
	return instance{}
}

// A service is what one `pillion run` starts.
type service struct {
	app   string
	in    language
	flags []string // of pillion run; --app-port auto if there are none
	env   []string
	shell string // instead of the service's own command
}

// begin starts a service without waiting for it.
func (w *world) begin(s service) *running {
	w.t.Helper()
	command, dir := s.in.command(w.t, s.app)
	if s.shell != "" {
		command = []string{"sh", "-c", s.shell}
	}
	args := []string{"run", "--app-id", s.app}
	if len(s.flags) == 0 {
		args = append(args, "--app-port", "auto")
	}
	args = append(append(append(args, s.flags...), "--"), command...)
	c := exec.Command(program("pillion"), args...)
	c.Env, c.Dir = append(slices.Clip(w.env), s.env...), dir
	r := start(w.t, c)
	r.app = s.app
	w.t.Cleanup(func() { w.end(r) })
	return r
}

// run starts services side by side and waits until all are ready.
func (w *world) run(services ...service) {
	w.t.Helper()
	var all []*running
	for _, s := range services {
		all = append(all, w.begin(s))
	}
	for _, r := range all {
		r.await("pillion: " + r.app + " is ready")
	}
}

// end stops what a test has left running; a test that failed shows what it
// said. The context of a test is over by then.
func (w *world) end(r *running) {
	select {
	case <-r.gone:
	default:
		_ = r.cmd.Process.Signal(os.Interrupt)
		select {
		case <-r.gone:
		case <-time.After(patience):
			_ = r.cmd.Process.Kill()
			<-r.gone
			w.t.Errorf("%s did not stop", r.app)
		}
	}
	if w.t.Failed() {
		w.t.Logf("%s said:\n%s", r.app, r.said())
	}
}

// running is a process and everything it has said.
type running struct {
	t    *testing.T
	app  string
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended

	mu      sync.Mutex // guards what follows
	text    bytes.Buffer
	changed chan struct{} // closed and renewed whenever text grows
}

// start starts a process. Its end is waited for by a goroutine that closes
// gone.
func start(t *testing.T, c *exec.Cmd) *running {
	t.Helper()
	r := &running{t: t, cmd: c, gone: make(chan struct{}), changed: make(chan struct{})}
	c.Stdout, c.Stderr = r, r
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.Wait() // how it ended is in ProcessState
		close(r.gone)
	}()
	return r
}

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.changed)
	r.changed = make(chan struct{})
	return r.text.Write(p)
}

func (r *running) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// await returns as soon as the process has said the text.
func (r *running) await(text string) {
	r.t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		found, changed := strings.Contains(r.text.String(), text), r.changed
		r.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-r.gone:
			if strings.Contains(r.said(), text) {
				return
			}
			r.t.Fatalf("%v ended without saying %q:\n%s", r.cmd.Args, text, r.said())
		case <-late:
			r.t.Fatalf("%v has not said %q:\n%s", r.cmd.Args, text, r.said())
		}
	}
}
