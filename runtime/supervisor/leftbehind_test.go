//go:build linux

package supervisor_test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

// nasty is a tree that does not want to end: a shell, a child that ignores
// SIGTERM, a grandchild in a session of its own, one that was forked twice.
// Each says that it is there by making a file.
const nasty = `
cd "$DIR"
(trap '' TERM HUP; touch child; while :; do sleep 0.05; done) &
setsid sh -c 'trap "" TERM HUP; touch session; while :; do sleep 0.05; done' &
(setsid sh -c 'sh -c "trap \"\" TERM HUP; touch double; while :; do sleep 0.05; done" & exit' &)
touch shell
wait
`

func nastyTree(t *testing.T) (ready func() bool) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("DIR", dir)
	return func() bool {
		for _, name := range []string{"child", "session", "double", "shell"} {
			if _, err := os.Stat(dir + "/" + name); err != nil {
				return false
			}
		}
		return true
	}
}

func TestNothingIsLeftWhenPillionIsKilled(t *testing.T) {
	ready := nastyTree(t)
	pt := playing(t, "parent", nil, "sh", "-c", nasty)
	_, guard := pt.started(t)
	eventually(t, "the tree is there", ready)
	if n := len(marked(pt.mark)); n < 5 {
		t.Fatalf("%d processes run, want at least 5", n)
	}
	_ = pt.cmd.Process.Kill()
	eventually(t, "nobody is left", func() bool { return len(marked(pt.mark)) == 0 })
	eventually(t, "the guard is gone", func() bool { return gone(guard) })
}

func TestNothingIsLeftWhenTheGuardIsKilled(t *testing.T) {
	ready := nastyTree(t)
	pt := playing(t, "parent", nil, "sh", "-c", nasty)
	_, guard := pt.started(t)
	eventually(t, "the tree is there", ready)
	_ = syscall.Kill(guard, syscall.SIGKILL)
	if got, want := pt.said(t, "ended"), "exit 137 (SIGKILL) true"; got != want {
		t.Errorf("ended %s, want %s", got, want)
	}
	within.Receive(t, pt.done)
	if left := marked(pt.mark); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestKillNamesWhomItKilled(t *testing.T) {
	ready := nastyTree(t)
	p := start(t, supervisor.Spec{Command: sh(nasty)})
	eventually(t, "the tree is there", ready)
	if err := p.Terminate(); err != nil {
		t.Fatal(err)
	}
	within.Receive(t, p.Ended())
	if err := p.Kill(); err != nil {
		t.Fatalf("Kill: %v", err)
	}
	exit := wait(t, p)
	if exit.Signal != syscall.SIGTERM || len(exit.Killed) < 3 || !strings.Contains(fmt.Sprint(exit.Killed), "sh (") {
		t.Errorf("ended with %v, killed %v; want SIGTERM and the three shells that ignore it", exit, exit.Killed)
	}
	if tree, _ := p.Tree(); len(tree) != 0 {
		t.Errorf("Tree = %v after the end", tree)
	}
	for _, proc := range exit.Killed {
		if !gone(proc.PID) {
			t.Errorf("%v is still there", proc)
		}
	}
}

func TestTerminateReachesSessionsOfTheirOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, supervisor.Spec{Dir: dir, Command: sh(
		// What begins while the tree is being asked may be asked, too: nothing is to begin.
		`setsid sh -c 'trap ": >ended; exit" TERM; touch ready; while :; do sleep 0.02; done' & wait; wait`)})
	eventually(t, "the session is there", exists(dir+"/ready"))
	_ = p.Terminate()
	wait(t, p)
	if !exists(dir + "/ended")() {
		t.Error("the process in a session of its own was not asked to end")
	}
}

func TestLeftoversOfTheFirstProcessAreAskedAndNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var out buffer
	exit := wait(t, start(t, supervisor.Spec{Dir: dir, Out: &out, LeftoverGrace: patience, Command: sh(
		`sh -c 'trap "echo bye; exit" TERM; touch ready; while :; do sleep 0.02; done' &
		while [ ! -e ready ]; do sleep 0.01; done; exit 3`)}))
	if exit.Code != 3 || len(exit.Leftovers) == 0 || exit.Leftovers[0].Name != "sh" || len(exit.Killed) != 0 {
		t.Errorf("ended with %v, leftovers %v, killed %v; want 3, [sh], none", exit, exit.Leftovers, exit.Killed)
	}
	if out.String() != "bye\n" {
		t.Errorf("output %q, want what the leftover said at its end", out.String())
	}
}

func TestLeftoversThatDoNotListenAreKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	exit := wait(t, start(t, supervisor.Spec{Dir: dir, LeftoverGrace: 1, Command: sh(
		`sh -c 'trap "" TERM; touch ready; while :; do sleep 0.02; done' &
		while [ ! -e ready ]; do sleep 0.01; done`)}))
	if exit.Code != 0 || len(exit.Killed) == 0 {
		t.Errorf("ended with %v, killed %v; want 0 and the shell", exit, exit.Killed)
	}
}

func TestAStoppedAppEndsWhenAsked(t *testing.T) {
	t.Parallel()
	p := start(t, supervisor.Spec{Command: sh(`kill -STOP $$`)})
	eventually(t, "the app is stopped", func() bool { return state(p.PID()) == "T" })
	_ = p.Terminate()
	if exit := wait(t, p); exit.Signal != syscall.SIGTERM {
		t.Errorf("ended with %v, want SIGTERM", exit)
	}
}

func TestAStoppedGuardDoesNotKeepTheAppAlive(t *testing.T) {
	t.Parallel()
	p := start(t, supervisor.Spec{Command: sh(`while :; do sleep 0.02; done`)})
	_ = syscall.Kill(p.GuardPID(), syscall.SIGSTOP)
	eventually(t, "the guard is stopped", func() bool { return state(p.GuardPID()) == "T" })
	pid := p.PID()
	if err := p.Kill(); err != nil {
		t.Errorf("Kill: %v", err)
	}
	if exit := wait(t, p); exit.Signal != syscall.SIGKILL { // and no word of a guard that somebody killed
		t.Errorf("ended with %v, want SIGKILL", exit)
	}
	if !gone(pid) {
		t.Error("the app is still there")
	}
}

func gone(pid int) bool {
	s := state(pid)
	return s == "" || s == "Z" || s == "X"
}

// state is a process's letter in /proc, "" if there is none.
func state(pid int) string {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(line[strings.LastIndexByte(string(line), ')')+1:]))
	return fields[0]
}

func exists(path string) func() bool {
	return func() bool { _, err := os.Stat(path); return err == nil }
}
