package pilliontest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Process is a program under way and everything it has said.
type Process struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended

	mu   sync.Mutex // guards what follows
	text bytes.Buffer
}

// StartProcess starts c, whose output it keeps. The process is interrupted when
// the test has ended, killed if that does not help, and waited for. A test that
// failed shows what it said.
func StartProcess(t testing.TB, c *exec.Cmd) *Process {
	t.Helper()
	p := &Process{cmd: c, gone: make(chan struct{})}
	c.Stdout, c.Stderr = p, p
	c.WaitDelay = Patience // what it left behind may hold its output
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.Wait() // how it ended is in ProcessState
		close(p.gone)
	}()
	t.Cleanup(func() {
		p.Stop(t)
		if t.Failed() {
			t.Logf("%v said:\n%s", c.Args, p.Said())
		}
	})
	return p
}

// Write keeps what the process says.
func (p *Process) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(data)
}

// Said is everything it has said so far.
func (p *Process) Said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// Await waits until the process has said text.
func (p *Process) Await(t testing.TB, text string) {
	t.Helper()
	Until(t, fmt.Sprintf("%v says %q", p.cmd.Args, text), func() bool {
		ended := p.Ended() // looked at first: its last words count
		if strings.Contains(p.Said(), text) {
			return true
		}
		if ended {
			t.Fatalf("%v ended without saying %q:\n%s", p.cmd.Args, text, p.Said())
		}
		return false
	})
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended reports whether the process has.
func (p *Process) Ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// Wait waits for the process's end and returns its exit status.
func (p *Process) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.gone:
	case <-time.After(Patience):
		t.Fatalf("%v does not end:\n%s", p.cmd.Args, p.Said())
	}
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends the process a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop interrupts the process and waits for its end.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have gone
	select {
	case <-p.gone:
	case <-time.After(Patience):
		_ = p.cmd.Process.Kill() // it may have gone just now
		<-p.gone
		t.Errorf("%v did not stop", p.cmd.Args)
	}
}
