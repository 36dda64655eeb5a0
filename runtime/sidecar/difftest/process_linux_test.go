package difftest_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/buildtest"
	"github.com/pillion-dev/pillion/internal/porttest"
)

// built is the pillion that is built when it is first needed, and its folder.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pillion-difftest-")
	if err != nil {
		return "", err
	}
	builtIn.Store(&dir)
	name := filepath.Join(dir, "pillion")
	return name, buildtest.Build(name, "github.com/pillion-dev/pillion")
})

// builtIn is where it is, if it was built.
var builtIn atomic.Pointer[string]

// removeBuilt is for the end of all tests.
func removeBuilt() {
	if dir := builtIn.Load(); dir != nil {
		_ = os.RemoveAll(*dir) // a temporary folder
	}
}

// A process is a sidecar in a process of its own, so that its memory is its
// own.
type process struct {
	t     *testing.T
	app   string
	cmd   *exec.Cmd
	pprof string // where its profiles are
	http  string // its door
	gone  chan struct{}
}

// A processPair is an app of the test's with two sidecars in processes of
// their own.
type processPair struct {
	t              *testing.T
	caller, callee *process
}

// newProcessPair starts both sidecars for an app at ln.
func newProcessPair(t *testing.T, protocol string, ln net.Listener) *processPair {
	t.Helper()
	w := newWorld(t)
	port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
	p := &processPair{t: t}
	p.callee = w.process(callee, "--app-port", port, "--app-protocol", protocol)
	p.caller = w.process("caller")
	return p
}

// process starts a sidecar without a command, and waits until it is up.
func (w *world) process(app string, flags ...string) *process {
	w.t.Helper()
	name, err := built()
	if err != nil {
		w.t.Fatal(err)
	}
	port := porttest.Reserve(w.t).String()
	args := append([]string{"run", "--app-id", app, "--discovery", "local", "--enable-profiling", "--profile-port", port}, flags...)
	p := &process{t: w.t, app: app, pprof: "http://127.0.0.1:" + port, gone: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(w.t.Context()), name, args...)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.t.TempDir(), "PILLION_HOME=" + w.home.Path, "PILLION_RUNTIME_DIR=" + w.base, "NO_COLOR=1"}
	said, err := p.cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	up, ended := make(chan struct{}), make(chan string, 1)
	go func() {
		defer close(p.gone)
		lines := bufio.NewScanner(said)
		var all strings.Builder
		var once sync.Once
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), " is up") || strings.Contains(lines.Text(), " is ready") {
				once.Do(func() { close(up) })
			}
		}
		_ = p.cmd.Wait() // how it ended does not matter
		ended <- all.String()
	}()
	w.t.Cleanup(p.stop)
	select {
	case <-up:
	case said := <-ended:
		w.t.Fatalf("%s ended: %s", app, said)
	case <-time.After(2 * patience):
		w.t.Fatalf("%s does not come up", app)
	}
	e := w.entry(app)
	p.http = net.JoinHostPort("127.0.0.1", strconv.Itoa(int(e.HTTPPort)))
	return p
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have gone already
	select {
	case <-p.gone:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill() // it may go just now
		p.t.Errorf("%s did not stop", p.app)
	}
}

// status is a figure of /proc/<pid>/status, in KiB.
func (p *process) status(name string) int64 {
	p.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return n
		}
	}
	p.t.Fatalf("no %s in the status of %s", name, p.app)
	return 0
}

// forgetPeak begins a new measurement of the largest resident size.
func (p *process) forgetPeak() {
	p.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// descriptors is how many the process has open.
func (p *process) descriptors() int {
	p.t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(all)
}

// goroutines is how many the process has.
func (p *process) goroutines() int {
	p.t.Helper()
	answer, err := http.Get(p.pprof + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	var n int
	if _, err := fmt.Sscanf(string(text), "goroutine profile: total %d", &n); err != nil {
		p.t.Fatalf("%v: %.100s", err, text)
	}
	return n
}

// dump is what the process's goroutines do.
func (p *process) dump() string {
	answer, err := http.Get(p.pprof + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	return string(bytes.TrimSpace(text))
}

func (p *processPair) both() []*process { return []*process{p.caller, p.callee} }

// listen is where an app of the test's listens.
func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// until waits for a condition that only looking can tell.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(patience)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case <-limit:
			t.Fatalf("still not: %s", what)
		}
	}
}
