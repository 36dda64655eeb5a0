//go:build linux

package supervisor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

// roleVar makes the test binary play a part instead of running tests.
const roleVar = "SUPERVISOR_TEST_ROLE"

// argsVar has the arguments of a part, as JSON. Its command line is the test's
// own: who ends the orphans of a guard that was killed takes every child in
// another session for one, but those that look like himself.
const argsVar = "SUPERVISOR_TEST_ARGS"

// markVar is in the environment of every process of one test's app, so that
// the test can tell who is left.
const markVar = "SUPERVISOR_TEST_MARK"

func play(role string) int {
	_ = os.Unsetenv(roleVar)
	args := os.Args[1:]
	if text, told := os.LookupEnv(argsVar); told {
		_ = os.Unsetenv(argsVar)
		args = nil
		if err := json.Unmarshal([]byte(text), &args); err != nil {
			return 99
		}
	}
	switch role {
	case "parent":
		return playParent(args)
	case "shell":
		return playShell(args, true)
	case "shell &":
		return playShell(args, false)
	case "root":
		return playRoot(args[0])
	case "listener":
		return playListener(args)
	default:
		return 99
	}
}

// playParent does what pillion does: it runs a command until it ends, SIGTERM
// and Ctrl-C terminate it, SIGUSR1 and Ctrl-\ kill it. What happens is said on descriptor
// 3.
func playParent(command []string) int {
	say := os.NewFile(3, "says")
	spec := supervisor.Spec{
		Command: command, Env: os.Environ(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Job: true,
	}
	keys := make(chan supervisor.Key, 8)
	spec.Keys = func(k supervisor.Key) { keys <- k }
	if _, err := unix.IoctlGetTermios(1, unix.TCGETS); err == nil {
		spec.Terminal = os.Stdout
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	p, err := supervisor.Start(context.Background(), spec)
	if err != nil {
		_, _ = fmt.Fprintln(say, "error", err)
		return 1
	}
	_, _ = fmt.Fprintln(say, "app", p.PID(), "guard", p.GuardPID())
	for {
		select {
		case k := <-keys:
			_, _ = fmt.Fprintln(say, "key", k)
			if k == supervisor.KeyStopNow {
				_ = p.Kill()
			} else {
				_ = p.Terminate()
			}
		case s := <-signals:
			_, _ = fmt.Fprintln(say, "signal", s)
			if s == syscall.SIGUSR1 {
				_, _ = fmt.Fprintln(say, "kill", p.Kill())
				continue
			}
			_ = p.Terminate()
		case <-p.Done():
			exit, err := p.Wait()
			_, _ = fmt.Fprintln(say, "ended", exit, errors.Is(err, supervisor.ErrGuardLost))
			return exit.Code
		}
	}
}

// playShell does what a shell does with a job at its terminal: it puts it in
// front, takes the terminal back when the job stops, and wakes it when told. A
// job that begins in the background is put in front when told.
func playShell(command []string, front bool) int {
	say := os.NewFile(3, "says")
	tell := bufio.NewReader(os.NewFile(4, "tells"))
	signal.Ignore(syscall.SIGTTOU, syscall.SIGTSTP)
	self, err := os.Executable()
	if err != nil {
		return 1
	}
	saved, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		return 1
	}
	job := exec.Command(self, command...)
	job.Env = append(os.Environ(), roleVar+"=parent")
	job.Stdin, job.Stdout, job.Stderr = os.Stdin, os.Stdout, os.Stderr
	job.ExtraFiles = []*os.File{say}
	job.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: front, Ctty: 0}
	signal.Reset(syscall.SIGTSTP) // the job must not inherit it
	if err := job.Start(); err != nil {
		return 1
	}
	if !front {
		if _, err := tell.ReadString('\n'); err != nil {
			return 1
		}
		// It runs: a shell sends no signal.
		_ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, job.Process.Pid)
	}
	for {
		var ws syscall.WaitStatus
		if _, err := syscall.Wait4(job.Process.Pid, &ws, syscall.WUNTRACED, nil); err != nil {
			return 1
		}
		if !ws.Stopped() {
			return ws.ExitStatus()
		}
		now, err := unix.IoctlGetTermios(0, unix.TCGETS)
		_ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, unix.Getpgrp())
		_, _ = fmt.Fprintln(say, "stopped", err == nil && now.Lflag == saved.Lflag)
		if _, err := tell.ReadString('\n'); err != nil {
			return 1
		}
		_ = unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, job.Process.Pid)
		_ = syscall.Kill(-job.Process.Pid, syscall.SIGCONT)
	}
}

// playRoot becomes root for good, if its file lets it, and stays.
func playRoot(ready string) int {
	if err := syscall.Setresuid(0, 0, 0); err != nil {
		return 1
	}
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		return 1
	}
	for {
		_ = syscall.Pause()
	}
}

// playListener listens on the given addresses and prints where, then waits for
// the end of its input.
func playListener(addrs []string) int {
	for _, addr := range addrs {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return 1
		}
		fmt.Println(ln.Addr())
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// a part is a process that plays a role.
type part struct {
	cmd  *exec.Cmd
	says *bufio.Reader
	from *os.File // what says reads
	tell *os.File
	mark string
	done chan struct{}
}

// playing starts the test binary in a role. The prepare function may change
// the command before it is started.
func playing(t *testing.T, role string, prepare func(*exec.Cmd), args ...string) *part {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	saysOut, says := pipe(t)
	tells, tell := pipe(t)
	text, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	pt := &part{cmd: exec.Command(self, os.Args[1:]...), says: bufio.NewReader(saysOut), from: saysOut, tell: tell, mark: mark(t), done: make(chan struct{})}
	pt.cmd.Args[0] = os.Args[0]
	pt.cmd.Env = append(os.Environ(), roleVar+"="+role, argsVar+"="+string(text), markVar+"="+pt.mark)
	pt.cmd.ExtraFiles = []*os.File{says, tells}
	if prepare != nil {
		prepare(pt.cmd)
	}
	if err := pt.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = says.Close()
	_ = tells.Close()
	go func() { defer close(pt.done); _ = pt.cmd.Wait() }()
	t.Cleanup(func() {
		_ = pt.cmd.Process.Kill()
		within.Receive(t, pt.done)
		eventually(t, "nobody is left of "+pt.mark, func() bool { return len(marked(pt.mark)) == 0 })
	})
	return pt
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// said waits for a line that begins with word and returns the rest of it.
func (pt *part) said(t *testing.T, word string) string {
	t.Helper()
	_ = pt.from.SetReadDeadline(time.Now().Add(patience)) // a pipe has them
	var before []string
	for {
		line, err := pt.says.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q, behind %q: %v", word, before, err)
		}
		before = append(before, line)
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
}

// started waits until the app runs.
func (pt *part) started(t *testing.T) (app, guard int) {
	t.Helper()
	line := pt.said(t, "app")
	if _, err := fmt.Sscanf(line, "%d guard %d", &app, &guard); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return app, guard
}

func mark(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("%s-%d-%p", t.Name(), os.Getpid(), t)
}

// marked lists the processes that have the mark in their environment.
func marked(mark string) []string {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []string
	for _, name := range names {
		env, err := os.ReadFile("/proc/" + name.Name() + "/environ")
		if err == nil && strings.Contains(string(env), markVar+"="+mark+"\x00") {
			found = append(found, name.Name())
		}
	}
	return found
}
