//go:build linux

package supervisor_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
)

// A process that has become another user's cannot be killed: it is named and
// left, and nobody waits for it for ever.
func TestWhatCannotBeKilledIsNamed(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to have two users")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Where the other user may read it.
	dir, err := os.MkdirTemp("", "supervisor") //nolint:usetesting // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "part"), string(program), 0o755|os.ModeSetuid)
	write(t, filepath.Join(dir, "plain"), string(program), 0o755)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	ready := filepath.Join(dir, "ready")
	pt := playing(t, "parent", func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		c.Path = filepath.Join(dir, "plain")
		c.Dir = dir
	}, "env", roleVar+"=root", filepath.Join(dir, "part"), ready)
	app, _ := pt.started(t)
	t.Cleanup(func() { _ = syscall.Kill(app, syscall.SIGKILL) })
	eventually(t, "the app is root's", exists(ready))
	_ = pt.cmd.Process.Signal(syscall.SIGUSR1)
	got := pt.said(t, "kill")
	if !strings.HasPrefix(got, "cannot kill part (") {
		t.Errorf("Kill says %q, want the name of what it could not kill", got)
	}
	if got := pt.said(t, "ended"); !strings.HasSuffix(got, "false") {
		t.Errorf("ended %s: the guard is not what was lost", got)
	}
	within.Receive(t, pt.done)
	if gone(app) {
		t.Error("the app is gone: this test did not test what it should")
	}
}
