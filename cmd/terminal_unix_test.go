//go:build unix

package cmd

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/creack/pty"
)

// A library that asks the terminal about its background writes ESC ] and waits
// seconds for an answer, swallowing what is typed meanwhile. Ours must not, so
// the terminal of this test never answers.
func TestNoCommandAsksTheTerminal(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"version"}, {"--help"}, {"list"}, {"lits"}} {
		out := onTerminal(t, 80, args...)
		if len(out) == 0 {
			t.Errorf("pillion %v printed nothing", args)
		}
		if bytes.Contains(out, []byte("\x1b]")) || bytes.Contains(out, []byte("\x1b[6n")) || bytes.Contains(out, []byte("\x1b[c")) {
			t.Errorf("pillion %v asks the terminal: %q", args, out)
		}
	}
}

func TestOutMayBeAFileWhileErrIsATerminal(t *testing.T) {
	t.Parallel()
	exe, err := exec.LookPath("pillion") // testscript puts it into the PATH
	if err != nil {
		t.Skip("pillion is not in the PATH of this run")
	}
	master, slave := openTerminal(t, 80)
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), exe, "list", "-o", "json")
	cmd.Env = testEnv(t)
	cmd.Stdout, cmd.Stderr = &out, slave
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	if got := out.String(); got != "[]\n" {
		t.Errorf("stdout is %q", got)
	}
	if said := drain(t, master); len(said) > 0 {
		t.Errorf("stderr is %q", said)
	}
}

// onTerminal runs pillion with all streams on a terminal and returns what it
// showed.
func onTerminal(t *testing.T, width int, args ...string) []byte {
	t.Helper()
	exe, err := exec.LookPath("pillion")
	if err != nil {
		t.Skip("pillion is not in the PATH of this run")
	}
	master, slave := openTerminal(t, width)
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(testEnv(t), "TERM=xterm-256color", "LANG=C.UTF-8")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	out := drain(t, master)
	_ = cmd.Wait() // its status is not what is tested
	return out
}

func openTerminal(t *testing.T, width int) (master, slave *os.File) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := pty.Setsize(master, &pty.Winsize{Cols: uint16(width), Rows: 50}); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// drain reads until the other side is closed everywhere, or for too long.
func drain(t *testing.T, master *os.File) []byte {
	t.Helper()
	if err := master.SetReadDeadline(time.Now().Add(waitLimit)); err != nil {
		t.Logf("no deadline for the terminal: %v", err)
	}
	var out bytes.Buffer
	buf := make([]byte, 4096)
	for {
		n, err := master.Read(buf)
		out.Write(buf[:n])
		if err != nil { // EIO is the end of a terminal
			return out.Bytes()
		}
	}
}

// testEnv is the environment of somebody who sits at the terminal: what a CI
// job's has, which the last row is not drawn for, is not theirs.
func testEnv(t *testing.T) []string {
	t.Helper()
	return append(os.Environ(), "HOME="+t.TempDir(), "PILLION_HOME=", "PILLION_RUNTIME_DIR="+t.TempDir(), "CI=")
}
