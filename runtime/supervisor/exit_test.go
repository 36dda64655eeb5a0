//go:build linux

package supervisor_test

import (
	"syscall"
	"testing"

	"github.com/pillion-dev/pillion/runtime/supervisor"
)

func TestExitIsTheAppsOwn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		script string
		code   int
		signal syscall.Signal
		text   string
	}{
		{"exit 0", 0, 0, "exit 0"},
		{"exit 7", 7, 0, "exit 7"},
		{"exit 255", 255, 0, "exit 255"},
		{"kill -TERM $$", 143, syscall.SIGTERM, "exit 143 (SIGTERM)"},
		{"kill -KILL $$", 137, syscall.SIGKILL, "exit 137 (SIGKILL)"},
		{"kill -SEGV $$", 139, syscall.SIGSEGV, "exit 139 (SIGSEGV)"},
	} {
		t.Run(c.script, func(t *testing.T) {
			t.Parallel()
			exit := wait(t, start(t, supervisor.Spec{Command: sh(c.script)}))
			if exit.Code != c.code || exit.Signal != c.signal || exit.String() != c.text {
				t.Errorf("%q ended with %d, %v, %q; want %d, %v, %q",
					c.script, exit.Code, exit.Signal, exit, c.code, c.signal, c.text)
			}
		})
	}
}

func TestOutputGoesThrough(t *testing.T) {
	t.Parallel()
	var out, errs buffer
	exit := wait(t, start(t, supervisor.Spec{Command: sh("echo a; echo b >&2; echo c"), Out: &out, Err: &errs}))
	if out.String() != "a\nc\n" || errs.String() != "b\n" || exit.Code != 0 {
		t.Errorf("%q %q %v", out.String(), errs.String(), exit)
	}
}
