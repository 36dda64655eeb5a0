package ca_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// mountOver puts a file system of the given kind over dir, in the mount
// namespace that the process was started in.
func mountOver(dir, kind string) error {
	options := map[string]struct {
		flags uintptr
		data  string
	}{
		"full":      {0, "size=8k"},
		"read-only": {syscall.MS_RDONLY, ""},
	}
	o, ok := options[kind]
	if !ok {
		return nil
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	return syscall.Mount("tmpfs", dir, "tmpfs", o.flags, o.data)
}

func TestFullAndReadOnlyHomesAreSaidClearly(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	for kind, want := range map[string]string{
		"full":      "no space left on device",
		"read-only": "read-only file system",
	} {
		dir := t.TempDir()
		cmd := program(t, dir)
		cmd.Env = append(cmd.Env, mountEnv+"="+kind)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%s: %v: %s", kind, err, out)
		}
		for _, part := range []string{"cannot be kept in " + dir, want, "PILLION_HOME"} {
			if !strings.Contains(string(out), part) {
				t.Errorf("%s: %q does not say %q", kind, out, part)
			}
		}
		// Only the lock may stay: a disk that has space again is all it needs.
		if left := string(out); !strings.Contains(left, "\n0 files") && !strings.Contains(left, "\n1 files") {
			t.Errorf("%s: something was left: %s", kind, out)
		}
	}
}
