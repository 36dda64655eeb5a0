package meshtest_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A process is one that a test has started, with everything it has said.
type process struct {
	t     testing.TB
	app   string
	alone bool // it is a sidecar without an app
	cmd   *exec.Cmd
	gone  chan struct{} // closed when it has ended

	mu      sync.Mutex // guards what follows
	text    bytes.Buffer
	changed chan struct{} // closed and renewed whenever text grows
}

// An appSpec says what `pillion run` starts.
type appSpec struct {
	id    string
	name  string // in its answers; the ID if it is empty
	flags []string
	env   []string
	alone bool // the sidecar without an app
}

// begin starts an app with its sidecar, and does not wait.
func (m *machine) begin(s appSpec) *process {
	m.t.Helper()
	args := append([]string{binary, "run", "--app-id", s.id}, s.flags...)
	if !s.alone {
		args = append(args, "--app-port", "auto", "--", os.Args[0])
	}
	name := s.name
	if name == "" {
		name = s.id
	}
	env := append([]string{roleEnv + "=app", nameEnv + "=" + name, recordEnv + "=" + m.recordFile(), gateEnv + "=" + m.gateFile()}, s.env...)
	p := start(m.t, m.command(context.WithoutCancel(m.t.Context()), env, args...))
	p.app, p.alone = s.id, s.alone
	return p
}

// start is begin, and waits until the app is ready.
func (m *machine) start(s appSpec) *process {
	m.t.Helper()
	p := m.begin(s)
	p.ready()
	return p
}

// app starts an app that answers.
func (m *machine) app(id string, flags ...string) *process {
	m.t.Helper()
	return m.start(appSpec{id: id, flags: flags})
}

// caller starts a sidecar without an app.
func (m *machine) caller(id string, flags ...string) (*process, *door) {
	m.t.Helper()
	p := m.start(appSpec{id: id, flags: flags, alone: true})
	return p, m.door(p)
}

func (m *machine) recordFile() string { return filepath.Join(m.dir, "record") }

func (m *machine) gateFile() string { return filepath.Join(m.dir, "gate") }

// recorded are the names of the apps that got each call with an ID.
func (m *machine) recorded() map[string][]string {
	m.t.Helper()
	data, err := os.ReadFile(m.recordFile())
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	got := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		if name, id, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); id != "" {
			got[id] = append(got[id], name)
		}
	}
	return got
}

// untouched checks that no app of the machine got a call.
func (m *machine) untouched() {
	m.t.Helper()
	if data, err := os.ReadFile(m.recordFile()); err == nil && len(data) > 0 {
		m.t.Errorf("the app got calls:\n%s", data)
	}
}

// start starts a process. What a test has left running is stopped at its end;
// if it failed, what the process said is shown.
func start(t testing.TB, c *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: c, gone: make(chan struct{}), changed: make(chan struct{})}
	c.Stdout, c.Stderr = p, p
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.Wait() // how it ended is in ProcessState
		close(p.gone)
	}()
	t.Cleanup(p.end)
	return p
}

func (p *process) end() {
	p.stop()
	if p.t.Failed() {
		p.t.Logf("%s said:\n%s", p.app, p.said())
	}
}

// stop ends the process the good way, and waits.
func (p *process) stop() {
	select {
	case <-p.gone:
		return
	default:
	}
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have gone just now
	select {
	case <-p.gone:
	case <-time.After(patience):
		p.kill()
		p.t.Errorf("%s did not stop", p.app)
	}
}

// kill ends the process the bad way, and waits.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have gone just now
	<-p.gone
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
	return p.text.Write(data)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (p *process) ready() {
	p.t.Helper()
	if p.alone {
		p.await("pillion: " + p.app + "'s sidecar is up")
		return
	}
	p.await("pillion: " + p.app + " is ready")
}

// await returns as soon as the process has said the text.
func (p *process) await(text string) {
	p.t.Helper()
	late := time.After(patience)
	for {
		p.mu.Lock()
		found, changed := strings.Contains(p.text.String(), text), p.changed
		p.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-p.gone:
			if strings.Contains(p.said(), text) {
				return
			}
			p.t.Fatalf("%v ended without saying %q:\n%s", p.cmd.Args, text, p.said())
		case <-late:
			p.t.Fatalf("%v has not said %q:\n%s", p.cmd.Args, text, p.said())
		}
	}
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
