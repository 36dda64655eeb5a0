//go:build linux

package supervisor_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/supervisor"
)

func TestNoInputIsAnEmptyOne(t *testing.T) {
	t.Parallel()
	var out buffer
	wait(t, start(t, supervisor.Spec{Command: sh("cat; echo end"), Out: &out}))
	if out.String() != "end\n" {
		t.Errorf("output %q, want an end at once", out.String())
	}
}

func TestAFileIsTheAppsOwn(t *testing.T) {
	t.Parallel()
	name := t.TempDir() + "/in"
	if err := os.WriteFile(name, []byte("one\ntwo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	var out buffer
	wait(t, start(t, supervisor.Spec{Command: sh("readlink /proc/self/fd/0; cat"), In: in, Out: &out}))
	if got, want := out.String(), name+"\none\ntwo\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
}

func TestAReaderIsCopiedToItsEnd(t *testing.T) {
	t.Parallel()
	out := newDigest()
	const size = 5 << 20
	wait(t, start(t, supervisor.Spec{
		Command: sh("cat"), In: io.LimitReader(strings.NewReader(strings.Repeat("in\n", size)), size), Out: out,
	}))
	if out.n != size {
		t.Errorf("%d bytes came through, want %d", out.n, size)
	}
}

func TestAnAppThatDoesNotReadEnds(t *testing.T) {
	t.Parallel()
	r, w := pipe(t)
	defer func() { _ = w.Close() }()
	exit := wait(t, start(t, supervisor.Spec{Command: sh("exit 3"), In: struct{ io.Reader }{r}}))
	if exit.Code != 3 {
		t.Errorf("ended with %v, want 3 without waiting for the reader", exit)
	}
}

func TestTheAppHasItsEnvironmentAndNothingElse(t *testing.T) {
	t.Parallel()
	var out buffer
	dir := t.TempDir()
	wait(t, start(t, supervisor.Spec{
		Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH"), "B=2", "A=x y=z\n"}, Out: &out,
		Command: []string{"sh", "-c", `env -0 | tr '\0' '|'; echo; pwd`},
	}))
	got := out.String()
	for _, want := range []string{"B=2|", "A=x y=z\n|", "\n" + dir + "\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("output %q lacks %q", got, want)
		}
	}
	if strings.Contains(got, "GUARD") || strings.Contains(got, "GOMAXPROCS") {
		t.Errorf("the guard's own settings are in %q", got)
	}
}

func TestTheAppInheritsNothingOfOurs(t *testing.T) {
	t.Parallel()
	ls := []string{"ls", "/proc/self/fd"}
	direct, err := exec.Command(ls[0], ls[1:]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var out buffer
	wait(t, start(t, supervisor.Spec{Command: ls, Out: &out}))
	if out.String() != string(direct) {
		t.Errorf("the app has the descriptors %q, without us %q", out.String(), direct)
	}
}

func TestTheAppsSignalsAreAsWithoutUs(t *testing.T) {
	t.Parallel()
	var out buffer
	wait(t, start(t, supervisor.Spec{Command: []string{"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"}, Out: &out}))
	own, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	// What our own parent had us ignore, the app ignores too.
	var ignored string
	for line := range strings.Lines(string(own)) {
		if strings.HasPrefix(line, "SigIgn") {
			ignored = line
		}
	}
	want := fmt.Sprintf("SigBlk:\t%016x\n%s", 0, ignored)
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
