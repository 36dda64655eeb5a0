//go:build linux

package supervisor_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

// write writes a file while nobody forks: a process that another test starts in
// this moment would hold it open, and what is open for writing is not executed.
func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeStartedSaysWhyAndWhatToDo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bin := dir + "/bin"
	for _, folder := range []string{bin, dir + "/folder"} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, bin+"/uvicorn", "#!/bin/sh\n", 0o755)
	write(t, bin+"/plain", "#!/bin/sh\n", 0o644)
	write(t, dir+"/server", "#!/bin/sh\n", 0o755)
	write(t, dir+"/closed", "#!/bin/sh\n", 0o644)
	write(t, dir+"/app.py", "print()\n", 0o644)
	write(t, dir+"/noshebang", "echo hi\n", 0o755)
	write(t, dir+"/lost", "#!/no/such/shell -e\n", 0o755)
	write(t, dir+"/windows", "#!/bin/sh\r\necho\r\n", 0o755)
	write(t, dir+"/empty", "", 0o755)

	for _, c := range []struct {
		command string
		reason  apperr.Reason
		want    string
	}{
		{"uvicron", apperr.CommandNotFound, "did you mean uvicorn?"},
		{"zzzzzzzz", apperr.CommandNotFound, "it is in no folder of PATH"},
		{"server", apperr.CommandNotFound, "give it as ./server"},
		{"app.py", apperr.CommandNotFound, "run it with python3 app.py"},
		{"uvicorn main:app", apperr.CommandNotFound, "the whole line was given as one word"},
		{"./sever", apperr.CommandNotFound, "did you mean ./server?"},
		{"", apperr.CommandNotFound, "no command to run"},
		{"plain", apperr.NotExecutable, "chmod +x "},
		{"./closed", apperr.NotExecutable, "chmod +x ./closed"},
		{"./app.py", apperr.NotExecutable, "run it with python3 ./app.py"},
		{"./folder", apperr.NotExecutable, "it is a folder"},
		{"./noshebang", apperr.NotExecutable, "begins with #!"},
		{"./empty", apperr.NotExecutable, "begins with #!"},
		{"./lost", apperr.NotExecutable, "names /no/such/shell, which does not exist"},
		{"./windows", apperr.NotExecutable, "carriage return"},
	} {
		t.Run(c.command, func(t *testing.T) {
			t.Parallel()
			_, err := supervisor.Start(t.Context(), supervisor.Spec{
				Command: []string{c.command}, Dir: dir, Env: []string{"PATH=/nowhere:" + bin},
			})
			if !apperr.Is(err, c.reason) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Start(%q) = %v, want %s with %q", c.command, err, c.reason, c.want)
			}
		})
	}
	if _, err := supervisor.Start(t.Context(), supervisor.Spec{Command: []string{"sh"}, Dir: dir + "/none"}); err == nil ||
		!strings.Contains(err.Error(), "there is no such folder") {
		t.Errorf("Start in a folder that is not there = %v", err)
	}
}

func TestACommandIsLookedForAsTheAppWouldSeeIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir+"/here", "#!/bin/sh\necho \"$0\"\n", 0o755)
	for _, c := range []struct{ command, path, want string }{
		{"./here", "", "./here\n"},
		{dir + "/here", "", dir + "/here\n"},
		{"here", dir, dir + "/here\n"},
		{"here", ".", "./here\n"},
	} {
		var out buffer
		wait(t, start(t, supervisor.Spec{Command: []string{c.command}, Dir: dir, Env: []string{"PATH=" + c.path}, Out: &out}))
		if out.String() != c.want {
			t.Errorf("%s with PATH=%s ran %q, want %q", c.command, c.path, out.String(), c.want)
		}
	}
}

func TestAStartThatIsCancelledLeavesNothing(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	m := mark(t)
	for i := range 30 {
		ctx, cancel := context.WithCancelCause(t.Context())
		at := make(chan struct{})
		go func() {
			defer close(at)
			for range i * 2000 { // somewhere in the start
				_ = ctx.Err()
			}
			cancel(stop)
		}()
		p, err := supervisor.Start(ctx, supervisor.Spec{
			Command: []string{"sleep", "1000"}, Env: append(os.Environ(), markVar+"="+m),
		})
		within.Receive(t, at)
		switch {
		case err == nil:
			_ = p.Kill()
			wait(t, p)
		case !errors.Is(err, stop):
			t.Fatalf("Start = %v, want %v", err, stop)
		}
		if left := marked(m); len(left) != 0 {
			t.Fatalf("left behind: %v", left)
		}
	}
}

func TestTheGuardHasANameOfItsOwn(t *testing.T) {
	t.Parallel()
	p := start(t, supervisor.Spec{Command: []string{"sleep", "1000"}})
	for _, name := range []string{"comm", "cmdline"} {
		eventually(t, "the guard is called so in "+name, func() bool {
			got, err := os.ReadFile("/proc/" + itoa(p.GuardPID()) + "/" + name)
			return err == nil && strings.Trim(string(got), "\n\x00") == "sidecar-guard"
		})
	}
}
