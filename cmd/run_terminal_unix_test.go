//go:build unix

package cmd

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// A screen is `pillion run` on a terminal of its own, and what has been shown
// there.
type screen struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	ended  chan error    // of the command
	read   chan struct{} // closed when nothing more can be shown

	mu    sync.Mutex // guards what follows
	shown bytes.Buffer
	more  chan struct{} // closed and replaced when something is shown
}

// runOnScreen starts pillion run with all three streams on a terminal.
func runOnScreen(t *testing.T, args ...string) *screen {
	t.Helper()
	exe, err := exec.LookPath("pillion")
	if err != nil {
		t.Skip("pillion is not in the PATH of this run")
	}
	master, slave := openTerminal(t, 100)
	s := &screen{t: t, master: master, ended: make(chan error, 1), read: make(chan struct{}), more: make(chan struct{})}
	s.cmd = exec.CommandContext(t.Context(), exe, append([]string{"run"}, args...)...)
	s.cmd.Env = append(testEnv(t), "TERM=xterm-256color", "LANG=C.UTF-8", "NO_COLOR=")
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = slave, slave, slave
	s.cmd.SysProcAttr = ownTerminal()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	go func() {
		defer close(s.read)
		s.watch()
	}()
	go func() { s.ended <- s.cmd.Wait() }()
	return s
}

// watch ends when the terminal is closed everywhere, at the test's end at the
// latest.
func (s *screen) watch() {
	buf := make([]byte, 4096)
	for {
		n, err := s.master.Read(buf)
		s.mu.Lock()
		s.shown.Write(buf[:n])
		close(s.more)
		s.more = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *screen) text() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String(), s.more
}

// await waits until the text is shown.
func (s *screen) await(text string) {
	s.t.Helper()
	limit := time.After(waitLimit)
	for {
		shown, more := s.text()
		if strings.Contains(shown, text) {
			return
		}
		select {
		case <-more:
		case <-limit:
			s.t.Fatalf("%q is not shown; this is:\n%q", text, shown)
		}
	}
}

func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := s.master.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// status waits for the end and returns the exit status.
func (s *screen) status() int {
	s.t.Helper()
	select {
	case err := <-s.ended:
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return exit.ExitCode()
		}
		if err != nil {
			s.t.Fatal(err)
		}
		return 0
	case <-time.After(waitLimit):
		shown, _ := s.text()
		s.t.Fatalf("pillion run does not end; shown is:\n%q", shown)
		return 0
	}
}

func TestOnATerminalTheAppHasOneOfTheSameSize(t *testing.T) {
	t.Parallel()
	s := runOnScreen(t, "--app-id", "x", "--", "sh", "-c",
		`test -t 0 && test -t 1 && test -t 2 && stty size && printf '\033[31mred\033[m\n' && read line && echo "got $line" &&
		until test "$(stty size)" != "50 100"; do sleep 0.02; done; stty size`)
	s.await("50 100\r\n\x1b[31mred\x1b[m\r\n")
	if err := pty.Setsize(s.master, &pty.Winsize{Cols: 132, Rows: 40}); err != nil {
		t.Fatal(err)
	}
	s.press("hello\r")
	s.await("got hello")
	s.await("40 132")
	if got := s.status(); got != 0 {
		t.Errorf("exit status %d, want the app's, 0", got)
	}
	s.await("x ended")
}

func TestCtrlCOnATerminalAsksTheAppToEnd(t *testing.T) {
	t.Parallel()
	s := runOnScreen(t, "--app-id", "x", "--", "actor", "-exit", "7")
	s.await("actor is up")
	s.press("\x03")
	s.await("stopping x")
	s.await("actor got terminated")
	s.await("actor ends")
	if got := s.status(); got != 7 {
		t.Errorf("exit status %d, want the app's, 7", got)
	}
}

func TestASecondCtrlCDoesNotWait(t *testing.T) {
	t.Parallel()
	s := runOnScreen(t, "--app-id", "x", "--grace", "1h", "--", "actor", "-deaf")
	s.await("actor is up")
	s.press("\x03")
	s.await("Ctrl-C again to stop now")
	s.await("actor got terminated")
	s.press("\x03")
	if got := s.status(); got != 137 {
		t.Errorf("exit status %d, want 137: killed", got)
	}
	s.await("killed what did not end by itself: actor")
}

// The first Ctrl-C may come from elsewhere, or before the keys are ours.
func TestACtrlCAfterASignalDoesNotWait(t *testing.T) {
	t.Parallel()
	s := runOnScreen(t, "--app-id", "x", "--grace", "1h", "--", "actor", "-deaf")
	s.await("actor is up")
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	s.await("Ctrl-C again to stop now")
	s.await("actor got terminated")
	s.press("\x03")
	if got := s.status(); got != 137 {
		t.Errorf("exit status %d, want 137: killed", got)
	}
}

// A build that runs for long is what people press Ctrl-C at.
func TestCtrlCWhileTheAppStartsEndsIt(t *testing.T) {
	t.Parallel()
	s := runOnScreen(t, "--app-id", "x", "--grace", "1h", "--app-port", "1", "--", "actor", "-listen-when", "/nowhere")
	s.await("actor is up")
	s.press("\x03")
	if got := s.status(); got != 143 {
		t.Errorf("exit status %d, want the app's, 143", got)
	}
}

// With ISIG off the keys are the app's: editors and shells read them.
func TestCtrlCIsAByteForAnAppThatReadsKeys(t *testing.T) {
	t.Parallel()
	s := runOnScreen(t, "--app-id", "x", "--", "sh", "-c",
		`stty raw -echo; echo set; dd bs=1 count=1 2>/dev/null | od -An -tx1; stty sane`)
	s.await("set")
	s.press("\x03")
	s.await("03")
	if got := s.status(); got != 0 {
		t.Errorf("exit status %d, want the app's, 0", got)
	}
}

// kill -9 leaves the user a terminal that works.
func TestTheTerminalIsAsItWasAfterKill9(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("stty"); err != nil {
		t.Skip("there is no stty")
	}
	exe, err := exec.LookPath("pillion")
	if err != nil {
		t.Skip("pillion is not in the PATH of this run")
	}
	master, slave := openTerminal(t, 80)
	before := settingsOf(t, slave)
	cmd := exec.CommandContext(t.Context(), exe, "run", "--app-id", "x", "--", "actor", "-deaf")
	cmd.Env = append(testEnv(t), "TERM=xterm")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = ownTerminal()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, master: master, more: make(chan struct{})}
	go s.watch()
	s.await("actor is up")
	if during := settingsOf(t, slave); during == before {
		t.Error("the terminal is not raw while the app runs")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	limit := time.After(waitLimit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for settingsOf(t, slave) != before {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("the terminal is\n%s\nand was\n%s", settingsOf(t, slave), before)
		}
	}
}

func settingsOf(t *testing.T, terminal *os.File) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "stty", "-g")
	cmd.Stdin = terminal
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
