package lesson_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// scripts/demo is what a newcomer runs first: in a home that is empty, with
// nothing but Go. What only makes the build quick is kept.
func TestTheDemoShowsTheMainJobAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	work, home := t.TempDir(), t.TempDir()
	c := exec.CommandContext(t.Context(), "../../scripts/demo")
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + work, "NO_COLOR=1"}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GOFLAGS", "GOTOOLCHAIN"} {
		value, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		c.Env = append(c.Env, name+"="+strings.TrimSpace(string(value)))
	}
	// Stopping it must let it clean up: it passes the end on to its apps.
	c.Cancel, c.WaitDelay = func() error { return c.Process.Signal(os.Interrupt) }, time.Minute
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`(?m)^INFO:     Notification received: Todo created: Buy groceries$`,
		`(?m)^  todo-api has verified +spiffe://[^/]+/ns/default/notification-service$`,
		`(?m)^  notification-service has verified +spiffe://[^/]+/ns/default/todo-api$`,
		`(?m)^todo-api \| INFO:     Task created: Buy groceries$`,
		`(?m)^notification-service\tstopped`,
		`(?m)^todo-api\tstopped`,
		`That was all`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the demo does not show %s", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
	if left, err := os.ReadDir(work); err != nil || len(left) != 0 {
		t.Errorf("left in its folder: %v %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(home, ".pillion")); err == nil {
		t.Error("it used the user's home")
	}
	for late := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) { // what ends takes a moment to be gone
		left := processesOf(t, work)
		if len(left) == 0 {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("still running: %s", strings.Join(left, "\n"))
		}
	}
}

// Without Go there is no demo, and it says so before it does anything.
func TestTheDemoSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	if err := os.Symlink("/usr/bin/dirname", filepath.Join(empty, "dirname")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, bash, "../../scripts/demo")
	c.Env = []string{"PATH=" + empty, "HOME=" + empty}
	out, err := c.CombinedOutput()
	if c.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "go is missing: install Go 1.26") {
		t.Errorf("%v\n%s", err, out)
	}
}

// processesOf lists the processes that name a folder in their command or their
// environment.
func processesOf(t *testing.T, dir string) (commands []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(all) == 0 {
		t.Fatalf("no processes: %v", err)
	}
	for _, p := range all {
		command, _ := os.ReadFile(p + "/cmdline") // it may have ended meanwhile
		environment, _ := os.ReadFile(p + "/environ")
		if bytes.Contains(command, []byte(dir)) || bytes.Contains(environment, []byte(dir)) {
			commands = append(commands, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return commands
}
