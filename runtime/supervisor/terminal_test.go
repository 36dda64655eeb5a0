//go:build linux

package supervisor_test

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/pillion-dev/pillion/internal/within"
)

// A screen is a user's terminal, with a part playing in front of it.
type screen struct {
	*part
	master *os.File
	tty    *os.File // held open, so that its settings can be read at any time
	before unix.Termios
	raw    bool // its keys are read one by one
	shown  buffer
}

// onScreen starts a part that has a terminal for its session, on those of its
// descriptors that are listed.
func onScreen(t *testing.T, role string, fds []int, args ...string) *screen {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(master, &pty.Winsize{Rows: 33, Cols: 101}); err != nil {
		t.Fatal(err)
	}
	s := &screen{master: master, tty: tty, raw: role == "parent" && len(fds) == len(all)}
	s.before = s.settings(t)
	s.part = playing(t, role, func(c *exec.Cmd) {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = null.Close() })
		c.Stdin, c.Stdout, c.Stderr = null, null, null
		for _, fd := range fds {
			switch fd {
			case 0:
				c.Stdin = tty
			case 1:
				c.Stdout = tty
			case 2:
				c.Stderr = tty
			}
		}
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: fds[0]}
	}, args...)
	read := make(chan struct{})
	go func() { defer close(read); _, _ = io.Copy(&s.shown, master) }()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		within.Receive(t, s.done)
		_ = tty.Close()
		within.Receive(t, read) // the last slave is closed: the copy ends
		_ = master.Close()
	})
	return s
}

var all = []int{0, 1, 2}

func (s *screen) settings(t *testing.T) unix.Termios {
	t.Helper()
	now, err := unix.IoctlGetTermios(int(s.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *now
}

func (s *screen) isRaw(t *testing.T) bool {
	t.Helper()
	return s.settings(t).Lflag&(unix.ICANON|unix.ISIG|unix.ECHO) == 0
}

func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("shown: %q; the part's state is %s", s.shown.String(), state(s.cmd.Process.Pid))
		}
	}()
	eventually(t, "the screen shows "+text, func() bool { return strings.Contains(s.shown.String(), text) })
}

func (s *screen) keys(t *testing.T, keys string) {
	t.Helper()
	if s.raw { // before that, Ctrl-C is a signal to whoever has the terminal
		eventually(t, "the terminal is raw", func() bool { return s.isRaw(t) })
	}
	if _, err := s.master.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// isAsBefore fails if the terminal is not as it was before the part began.
func (s *screen) isAsBefore(t *testing.T) {
	t.Helper()
	eventually(t, "the terminal is as it was", func() bool { return s.settings(t) == s.before })
}

func TestTheAppHasATerminalLikeOurs(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "parent", all, "sh", "-c",
		`test -t 0 && test -t 1 && test -t 2 && echo three; stty size; stty -a | tr '\n' ' '; ps -o stat= -p $$; echo end >/dev/tty`)
	s.said(t, "ended")
	within.Receive(t, s.done)
	s.shows(t, "three\r\n33 101\r\n")
	s.shows(t, " isig icanon iexten echo ")
	s.shows(t, "end\r\n")
	s.isAsBefore(t)
}

func TestTheSizeFollows(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "parent", all, "sh", "-c", `trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.01; done`)
	s.shows(t, "ready")
	if err := pty.Setsize(s.master, &pty.Winsize{Rows: 12, Cols: 34}); err != nil {
		t.Fatal(err)
	}
	s.shows(t, "12 34\r\n")
	within.Receive(t, s.done)
}

func TestTheScreenGetsWhatTheAppWrote(t *testing.T) {
	t.Parallel()
	const script = `printf 'a\nb\r\nc\rd\r\r\n\033[31me\033[0m\n'; seq 1 5000; printf 'end'`
	direct := onDirect(t, script)
	s := onScreen(t, "parent", all, "sh", "-c", script)
	s.said(t, "ended")
	within.Receive(t, s.done)
	eventually(t, "the screen shows the same bytes as without us", func() bool { return s.shown.String() == direct })
	s.isAsBefore(t)
}

// onDirect is what a script shows on a terminal without us.
func onDirect(t *testing.T, script string) string {
	t.Helper()
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = master.Close() }()
	c := exec.Command("sh", "-c", script)
	c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_ = tty.Close()
	var got buffer
	_, _ = io.Copy(&got, master)
	_ = c.Wait()
	return got.String()
}

func TestAnAppThatDrawsForItselfIsNotCorrected(t *testing.T) {
	t.Parallel()
	seen := t.TempDir() + "/seen"
	s := onScreen(t, "parent", all, "sh", "-c",
		`stty -opost; printf '1\n2\n3'; while [ ! -e "$0" ]; do sleep 0.01; done; stty opost; printf '\n4\n'`, seen)
	s.shows(t, "1\n2\n3")
	write(t, seen, "", 0o600)
	s.said(t, "ended")
	within.Receive(t, s.done)
	s.shows(t, "1\n2\n3\r\n4\r\n")
	s.isAsBefore(t)
}

func TestCtrlCIsOursAndIsSeen(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "parent", all, "sh", "-c", `trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done`)
	s.shows(t, "ready")
	eventually(t, "the terminal is raw", func() bool { return s.isRaw(t) })
	s.keys(t, "\x03")
	s.said(t, "key")
	if got := s.said(t, "ended"); !strings.HasPrefix(got, "exit 3 ") {
		t.Errorf("ended %s, want exit 3", got)
	}
	within.Receive(t, s.done)
	s.shows(t, "^C\r\n") // the shell says besides that its child was terminated
	s.shows(t, "bye\r\n")
	s.isAsBefore(t)
}

func TestASecondKeyKillsAnAppThatDoesNotListen(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "parent", all, "sh", "-c", `trap '' TERM; echo ready; while :; do sleep 0.01; done`)
	s.shows(t, "ready")
	s.keys(t, "\x03")
	s.said(t, "key")
	s.keys(t, "\x1c")
	if got := s.said(t, "ended"); !strings.HasPrefix(got, "exit 137 ") {
		t.Errorf("ended %s, want exit 137", got)
	}
	within.Receive(t, s.done)
	s.isAsBefore(t)
}

func TestCtrlCIsTheAppsWhenItTakesKeysItself(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "parent", all, "sh", "-c", `stty raw -echo; echo ready; head -c 4 | od -An -tx1; stty sane`)
	s.shows(t, "ready")
	s.keys(t, "\x03\x1c\x1aq")
	s.shows(t, "03 1c 1a 71")
	if got := s.said(t, "ended"); !strings.HasPrefix(got, "exit 0 ") {
		t.Errorf("ended %s, want exit 0", got)
	}
	within.Receive(t, s.done)
	s.isAsBefore(t)
}

func TestAKeyWithAnotherMeaningIsTheApps(t *testing.T) {
	t.Parallel()
	// As an editor does: the interrupt is Ctrl-G, Ctrl-C is a key like others.
	s := onScreen(t, "parent", all, "sh", "-c",
		`trap 'echo interrupted; exit 4' INT; stty -icanon -echo intr ^G; echo ready; head -c 1 | od -An -tx1; echo next; while :; do sleep 0.01; done`)
	s.shows(t, "ready")
	s.keys(t, "\x03")
	s.shows(t, "next")
	s.keys(t, "\x07")
	s.shows(t, "interrupted")
	within.Receive(t, s.done)
}

func TestTypedLinesArrive(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "parent", all, "sh", "-c", `echo ready; while read -r line; do echo "<$line>"; done; echo end`)
	s.shows(t, "ready")
	s.keys(t, "hello ăîș\r")
	s.shows(t, "<hello ăîș>\r\n")
	s.keys(t, "x\x7fy\r") // the app's terminal edits the line
	s.shows(t, "<y>\r\n")
	s.keys(t, "\x04") // Ctrl-D
	s.shows(t, "end\r\n")
	within.Receive(t, s.done)
	s.isAsBefore(t)
}

func TestAnAppThatReadsNothingDoesNotTakeOurKeysAway(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "parent", all, "sh", "-c", `stty raw; stty isig; echo ready; exec sleep 1000`)
	s.shows(t, "ready")
	for range 64 {
		s.keys(t, strings.Repeat("typed ahead ", 300))
	}
	s.keys(t, "\x03")
	s.said(t, "key")
	within.Receive(t, s.done)
}

func TestTheTerminalIsGivenBackWhenPillionIsKilled(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "parent", all, "sh", "-c", `trap '' HUP TERM; echo ready; while :; do sleep 0.01; done`)
	s.shows(t, "ready")
	eventually(t, "the terminal is raw", func() bool { return s.isRaw(t) })
	_ = s.cmd.Process.Kill()
	within.Receive(t, s.done)
	s.isAsBefore(t)
	eventually(t, "nobody is left", func() bool { return len(marked(s.mark)) == 0 })
}

func TestTheTerminalIsGivenBackWhenTheGuardIsKilled(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "parent", all, "sh", "-c", `echo ready; while :; do sleep 0.01; done`)
	_, guard := s.started(t)
	s.shows(t, "ready")
	eventually(t, "the terminal is raw", func() bool { return s.isRaw(t) })
	_ = syscall.Kill(guard, syscall.SIGKILL)
	s.said(t, "ended")
	within.Receive(t, s.done)
	s.isAsBefore(t)
}

func TestARedirectedOutputHasItsOwnPipe(t *testing.T) {
	t.Parallel()
	// Standard output goes elsewhere: lines are typed, and Ctrl-C is a signal.
	s := onScreen(t, "parent", []int{0, 2}, "sh", "-c", `test -t 0 || test -t 1 || test -t 2 || echo pipes >&2; read -r x; echo "<$x>" >&2; read -r x || echo end >&2; exec sleep 1000`)
	s.shows(t, "pipes")
	if s.isRaw(t) {
		t.Error("the terminal is raw although the app has none")
	}
	s.keys(t, "typed\r")
	s.shows(t, "<typed>")
	s.keys(t, "\x04")
	s.shows(t, "end")
	s.keys(t, "\x03")
	s.said(t, "signal")
	s.said(t, "ended")
	within.Receive(t, s.done)
	s.isAsBefore(t)
}

func TestInputFromElsewhereLeavesTheTerminalAlone(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "parent", []int{1, 2}, "sh", "-c", `test -t 1 && echo tty; read -r x || echo empty; exec sleep 1000`)
	s.shows(t, "tty\r\nempty\r\n")
	if s.settings(t) != s.before {
		t.Error("the terminal's settings were changed")
	}
	s.keys(t, "\x03")
	s.said(t, "signal")
	within.Receive(t, s.done)
	s.isAsBefore(t)
}

func TestLeftoversSpeakAfterTheFirstProcessHasEnded(t *testing.T) {
	t.Parallel()
	// As npm does: the first process goes at once, its child shuts down.
	s := onScreen(t, "parent", all, "sh", "-c",
		`sh -c 'trap "sleep 0.3; echo closed; exit" TERM; echo ready; while :; do sleep 0.01; done' & trap 'exit 1' TERM; while :; do sleep 0.01; done`)
	s.shows(t, "ready")
	s.keys(t, "\x03")
	s.said(t, "ended")
	within.Receive(t, s.done)
	s.shows(t, "closed\r\n")
}

func TestCtrlZSuspendsEverything(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "shell", all, "sh", "-c", `echo ready; while read -r x; do echo "<$x>"; done`)
	app, _ := s.started(t)
	s.shows(t, "ready")
	eventually(t, "the terminal is raw", func() bool { return s.isRaw(t) })
	for range 2 {
		s.keys(t, "\x1a")
		if got := s.said(t, "stopped"); got != "true" {
			t.Errorf("the terminal is the shell's again: %s", got)
		}
		eventually(t, "the app is stopped", func() bool { return state(app) == "T" })
		if err := pty.Setsize(s.master, &pty.Winsize{Rows: 9, Cols: 9}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.tell.WriteString("go\n"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the terminal is raw again", func() bool { return s.isRaw(t) })
		eventually(t, "the app runs again", func() bool { return state(app) == "S" })
	}
	s.keys(t, "awake\r")
	s.shows(t, "<awake>")
	s.keys(t, "\x03")
	s.said(t, "ended")
	within.Receive(t, s.done)
	s.isAsBefore(t)
}

func TestCtrlZWithoutAShellDoesNotHang(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "parent", all, "sh", "-c", `echo ready; while read -r x; do echo "<$x>"; done`)
	s.shows(t, "ready")
	s.keys(t, "\x1a")
	s.shows(t, "^Z")
	s.keys(t, "on\r")
	s.shows(t, "<on>")
}

func TestAJobInTheBackgroundLeavesTheTerminalAlone(t *testing.T) {
	t.Parallel()
	s := onScreen(t, "shell &", all, "sh", "-c", `echo ready; while read -r x; do echo "<$x>"; done`)
	app, _ := s.started(t)
	s.shows(t, "ready\r\n")
	s.keys(t, "typed\r")
	eventually(t, "the app waits for input", func() bool { return state(app) == "S" })
	if s.settings(t) != s.before {
		t.Error("the terminal's settings were changed from the background")
	}
	if strings.Contains(s.shown.String(), "<typed>") {
		t.Error("what was typed was read from the background")
	}
	if _, err := s.tell.WriteString("fg\n"); err != nil {
		t.Fatal(err)
	}
	s.shows(t, "<typed>")
	eventually(t, "the terminal is raw", func() bool { return s.isRaw(t) })
	s.keys(t, "\x03")
	s.said(t, "ended")
	within.Receive(t, s.done)
	s.isAsBefore(t)
}
