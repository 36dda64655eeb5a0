// Package pilliontest runs real pillions for tests: each world has a home and a
// runtime folder of its own, and nothing of it is left when the test has ended.
package pilliontest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/buildtest"
)

// Patience bounds every wait. It is long because a machine may be busy;
// nothing waits for it to pass.
const Patience = time.Minute

// Build builds pillion, and what else is named, into dir, and returns pillion's
// path. For a TestMain.
func Build(dir string, more ...string) (string, error) {
	packages := append([]string{"github.com/pillion-dev/pillion"}, more...)
	return filepath.Join(dir, "pillion"), buildtest.Build(dir+string(filepath.Separator), packages...)
}

// A World is a home and a runtime folder, and the pillions that share them.
type World struct {
	Dir string
	// Env is the environment of what runs in it: the test's own, without what
	// would lead out of the world.
	Env     []string
	t       testing.TB
	program string
	folder  string // where programs run
}

// New makes a world for t in which program is pillion.
func New(t testing.TB, program string) *World {
	t.Helper()
	dir, err := os.MkdirTemp("", "pillion-") //nolint:usetesting // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a temporary folder
	w := &World{Dir: dir, t: t, program: program, folder: dir}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !leadsOut(name) {
			w.Env = append(w.Env, kv)
		}
	}
	w.Env = append(w.Env, "HOME="+dir, "PILLION_HOME="+w.Home(), "PILLION_RUNTIME_DIR="+filepath.Join(dir, "run"), "NO_COLOR=1", "DAPR_HOST_IP=127.0.0.1")
	return w
}

// Home is the world's PILLION_HOME.
func (w *World) Home() string { return filepath.Join(w.Dir, "home") }

func leadsOut(name string) bool {
	for _, prefix := range []string{"PILLION_", "DAPR_", "APP_", "OTEL_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "PORT", "HOME", "NAMESPACE", "XDG_RUNTIME_DIR":
		return true
	}
	return false
}

// Write writes a file of the world and returns its path.
func (w *World) Write(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.Dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// Pillion runs a command of pillion to its end.
func (w *World) Pillion(args ...string) (out string, status int) {
	w.t.Helper()
	c := exec.CommandContext(w.t.Context(), w.program, args...) //nolint:gosec // the program under test
	c.Env, c.Dir = w.Env, w.folder
	data, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("pillion %v: %v", args, err)
	}
	return string(data), c.ProcessState.ExitCode()
}

// An Instance is what `pillion list -o json` says of a sidecar.
type Instance struct {
	AppID    string `json:"appId"`
	Instance string `json:"instance"`
	PID      int    `json:"daprdPid"`
	State    string `json:"status"`
	HTTPPort int    `json:"httpPort"`
	GRPCPort int    `json:"grpcPort"`
	AppPort  int    `json:"appPort"`
}

// List is what runs in the world.
func (w *World) List() ([]Instance, error) {
	c := exec.Command(w.program, "list", "-o", "json") //nolint:gosec,noctx // the program under test
	c.Env, c.Dir = w.Env, w.folder
	out, err := c.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	var all []Instance
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("pillion list: %w: %s", err, out)
	}
	return all, nil
}

// A Sidecar is a `pillion run` or `pillion sidecar` under way.
type Sidecar struct {
	*Process
	ID         string
	HTTP, GRPC string // its doors' addresses
}

// Run starts `pillion run --app-id id` with the arguments given and waits until
// it is ready; it is ended when the test has.
func (w *World) Run(id string, args ...string) *Sidecar {
	w.t.Helper()
	return w.Start(id, append([]string{"run", "--app-id", id}, args...)...)
}

// With is the world with more in its environment.
func (w *World) With(env ...string) *World {
	more := *w
	more.Env = append(slices.Clip(w.Env), env...)
	return &more
}

// In is the world as seen from one of its folders.
func (w *World) In(folder string) *World {
	other := *w
	other.folder = filepath.Join(w.Dir, folder)
	return &other
}

// Start is Run for a whole command line.
func (w *World) Start(id string, args ...string) *Sidecar {
	w.t.Helper()
	s := w.Begin(id, args...)
	Until(w.t, id+" is ready", func() bool {
		if s.Ended() {
			w.t.Fatalf("pillion %v ended:\n%s", args, s.Said())
		}
		return w.found(s)
	})
	return s
}

// Begin is Start without the wait: nothing is known of its doors.
func (w *World) Begin(id string, args ...string) *Sidecar {
	w.t.Helper()
	c := exec.Command(w.program, args...) //nolint:gosec,noctx // it is stopped by StartProcess: the program under test
	c.Env, c.Dir = w.Env, w.folder
	return &Sidecar{Process: StartProcess(w.t, c), ID: id}
}

// found looks whether s is ready, and where its doors are.
func (w *World) found(s *Sidecar) bool {
	all, err := w.List()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, i := range all {
		if i.PID == s.PID() && i.State == "ready" {
			s.HTTP, s.GRPC = local(i.HTTPPort), local(i.GRPCPort)
			return true
		}
	}
	return false
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Until waits for a condition, and fails the test if it does not come.
func Until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}
