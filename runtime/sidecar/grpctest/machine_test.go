package grpctest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait. It is long because a machine may be busy;
// nothing waits for it to pass.
const patience = time.Minute

// A machine is a home and a runtime folder, and the sidecars that share them.
type machine struct {
	dir    string
	engine string // who speaks HTTP, as --engine has it
	env    []string
	once   sync.Once
	all    []*sidecar
	err    error

	// The sidecars every test may use: a caller without an app, and apps that
	// speak gRPC, gRPC over TLS and HTTP/1.1. shop is HTTP/1.1, too, and says what
	// it got.
	caller, orders, vault, plain, shop *sidecar
	apps                               []*app
}

// A sidecar is a `pillion run` without a command of its own.
type sidecar struct {
	id         string
	cmd        *exec.Cmd
	gone       chan struct{}
	http, grpc string // its doors

	mu   sync.Mutex // guards what follows
	said bytes.Buffer
}

func (s *sidecar) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(data)
}

func (s *sidecar) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// start makes sure that the sidecars run.
func (m *machine) start(t testing.TB) {
	t.Helper()
	m.once.Do(func() { m.err = m.begin() })
	if m.err != nil {
		t.Fatal(m.err)
	}
}

func (m *machine) begin() error {
	clear, err := opened(nil)
	if err != nil {
		return err
	}
	secret, err := opened(selfSigned)
	if err != nil {
		return err
	}
	page, err := newPlainApp()
	if err != nil {
		return err
	}
	told, err := newPage(tell)
	if err != nil {
		return err
	}
	m.apps = append(m.apps, clear, secret, page, told)
	if m.caller, err = m.run("web"); err != nil {
		return err
	}
	if m.orders, err = m.run("orders", "--app-port", clear.port(), "--app-protocol", "grpc"); err != nil {
		return err
	}
	if m.vault, err = m.run("vault", "--app-port", secret.port(), "--app-protocol", "grpcs"); err != nil {
		return err
	}
	if m.plain, err = m.run("plain", "--app-port", page.port()); err != nil {
		return err
	}
	m.shop, err = m.run("shop", "--app-port", told.port())
	return err
}

// environ is the environment of a pillion on the machine.
func (m *machine) environ() []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case strings.HasPrefix(name, "PILLION_"), strings.HasPrefix(name, "DAPR_"), strings.HasPrefix(name, "APP_"),
			name == "PORT", name == "HOME", name == "NAMESPACE", name == "XDG_RUNTIME_DIR":
		default:
			env = append(env, kv)
		}
	}
	env = append(env, m.env...)
	return append(env, "HOME="+m.dir, "PILLION_HOME="+filepath.Join(m.dir, "home"),
		"PILLION_RUNTIME_DIR="+filepath.Join(m.dir, "run"), "NO_COLOR=1")
}

// run starts a sidecar and waits until its doors are open.
func (m *machine) run(id string, flags ...string) (*sidecar, error) {
	if err := os.MkdirAll(filepath.Join(m.dir, "run"), 0o700); err != nil {
		return nil, err
	}
	args := append([]string{"run", "--app-id", id, "--engine", m.engine}, flags...)
	s := &sidecar{id: id, cmd: exec.Command(pillion, args...), gone: make(chan struct{})}
	s.cmd.Env, s.cmd.Dir = m.environ(), m.dir
	s.cmd.Stdout, s.cmd.Stderr = s, s
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	m.all = append(m.all, s)
	go func() {
		_ = s.cmd.Wait() // how it ended is in ProcessState
		close(s.gone)
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		ready, err := m.ask(s)
		switch {
		case err != nil:
			return nil, err
		case ready:
			return s, nil
		case time.Now().After(deadline):
			return nil, fmt.Errorf("%s did not start: %s", id, s.text())
		}
		select {
		case <-s.gone:
			return nil, fmt.Errorf("%s ended: %s", id, s.text())
		default:
		}
	}
}

// ask looks whether s is up, and where.
func (m *machine) ask(s *sidecar) (bool, error) {
	if !strings.Contains(s.text(), "is up") && !strings.Contains(s.text(), "is ready") {
		return false, nil
	}
	list := exec.Command(pillion, "list", "-o", "json")
	list.Env, list.Dir = m.environ(), m.dir
	out, err := list.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return false, err
	}
	var all []struct {
		PID      int `json:"daprdPid"`
		HTTPPort int `json:"httpPort"`
		GRPCPort int `json:"grpcPort"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		return false, fmt.Errorf("pillion list: %w: %s", err, out)
	}
	for _, i := range all {
		if i.PID == s.cmd.Process.Pid && i.HTTPPort != 0 && i.GRPCPort != 0 {
			s.http, s.grpc = local(i.HTTPPort), local(i.GRPCPort)
			return true, nil
		}
	}
	return false, nil
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// sidecar starts one more, until the test's end.
func (m *machine) sidecar(t testing.TB, id string, flags ...string) *sidecar {
	t.Helper()
	return m.sidecarIn(t, nil, id, flags...)
}

// sidecarIn is sidecar with more in its environment.
func (m *machine) sidecarIn(t testing.TB, env []string, id string, flags ...string) *sidecar {
	t.Helper()
	own := &machine{dir: m.dir, engine: m.engine, env: env} // so that the list of the shared ones stays as it is
	s, err := own.run(id, flags...)
	t.Cleanup(own.stop)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", s.id, s.text())
		}
	})
	return s
}

// stop ends all of it, and waits.
func (m *machine) stop() {
	for _, s := range m.all {
		_ = s.cmd.Process.Signal(os.Interrupt) // it may have gone
	}
	for _, s := range m.all {
		select {
		case <-s.gone:
		case <-time.After(patience):
			_ = s.cmd.Process.Kill() // it may have gone just now
			<-s.gone
		}
	}
	for _, a := range m.apps {
		a.close()
	}
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}
