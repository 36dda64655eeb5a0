package soaktest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait. It is long because a machine may be busy;
// nothing waits for it to pass.
const patience = 90 * time.Second

// A machine is a pillion with a home and a runtime folder of its own.
type machine struct {
	t       *testing.T
	dir     string
	pillion string
}

func newMachine(t *testing.T, pillion string) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir(), pillion: pillion}
	if err := os.Mkdir(filepath.Join(m.dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *machine) command(args ...string) *exec.Cmd {
	c := exec.Command(m.pillion, args...)
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(name, "PILLION_"), strings.HasPrefix(name, "DAPR_"), strings.HasPrefix(name, "APP_"),
			name == "PORT", name == "HOME", name == "NAMESPACE", name == "XDG_RUNTIME_DIR":
		default:
			c.Env = append(c.Env, kv)
		}
	}
	c.Env = append(c.Env, "HOME="+m.dir, "PILLION_HOME="+filepath.Join(m.dir, "home"),
		"PILLION_RUNTIME_DIR="+filepath.Join(m.dir, "run"), "NO_COLOR=1")
	c.Dir = m.dir
	return c
}

// A process is a `pillion run`, with everything it has said.
type process struct {
	m    *machine
	id   string
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended

	mu   sync.Mutex // guards what follows
	text bytes.Buffer
}

// A kind of app: the sidecar alone, or one of the roles of the test binary.
const (
	alone   = ""
	page    = "http"
	service = "grpc"
)

// start starts an app with its sidecar and waits until it is ready.
func (m *machine) start(id, kind string, flags ...string) (*process, error) {
	args := append([]string{"run", "--app-id", id, "--enable-profiling", "--grace", "1m"}, flags...)
	ready := "pillion: " + id + "'s sidecar is up"
	if kind != alone {
		args = append(args, "--app-protocol", kind, "--app-port", "auto", "--", os.Args[0])
		ready = "pillion: " + id + " is ready"
	}
	p := &process{m: m, id: id, cmd: m.command(args...), gone: make(chan struct{})}
	p.cmd.Env = append(p.cmd.Env, roleEnv+"="+kind)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.gone)
	}()
	for deadline := time.Now().Add(patience); !strings.Contains(p.said(), ready); time.Sleep(2 * time.Millisecond) {
		if p.ended() || time.Now().After(deadline) {
			p.kill()
			return nil, fmt.Errorf("%s did not get ready:\n%s", id, p.said())
		}
	}
	return p, nil
}

// mustStart is start for what runs to the test's end.
func (m *machine) mustStart(id, kind string, flags ...string) *process {
	m.t.Helper()
	p, err := m.start(id, kind, flags...)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		p.kill() // if the test could not stop it
		if m.t.Failed() {
			m.t.Logf("%s said:\n%s", id, p.said())
		}
	})
	return p
}

func (p *process) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(data)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (p *process) ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// kill ends the process the bad way, and waits.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have gone just now
	<-p.gone
}

// stop ends the process the good way, waits, and says whether it went well.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have gone just now
	select {
	case <-p.gone:
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("%s did not stop:\n%s", p.id, p.said())
	}
	// Its app's own: it ended by a signal.
	if status := p.cmd.ProcessState.ExitCode(); status != 0 && status != 128+int(syscall.SIGINT) && status != 128+int(syscall.SIGTERM) {
		return fmt.Errorf("%s ended with %d:\n%s", p.id, status, p.said())
	}
	return p.sound()
}

// bad is what neither a sidecar nor an app may ever say.
var bad = regexp.MustCompile(`DATA RACE|panic:|fatal error:|did not end by itself|` + mixedUp)

// sound reports what the process has said that it should not have.
func (p *process) sound() error {
	if text := p.said(); bad.MatchString(text) {
		return fmt.Errorf("%s said:\n%s", p.id, text)
	}
	return nil
}

// doors are where the sidecar's APIs are.
func (p *process) doors() (http, grpc string) {
	p.m.t.Helper()
	out, err := p.m.command("list", "-o", "json").Output()
	if err != nil {
		p.m.t.Fatal(err)
	}
	var all []struct {
		PID      int `json:"daprdPid"`
		HTTPPort int `json:"httpPort"`
		GRPCPort int `json:"grpcPort"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		p.m.t.Fatal(err)
	}
	for _, i := range all {
		if i.PID == p.cmd.Process.Pid {
			return fmt.Sprint("127.0.0.1:", i.HTTPPort), fmt.Sprint("127.0.0.1:", i.GRPCPort)
		}
	}
	p.m.t.Fatalf("%s is not in the list: %s", p.id, out)
	return "", ""
}
