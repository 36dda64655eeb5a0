// Package usernstest runs tests as another user, in a user namespace of their
// own: one whom the modes of files bind, or who has limits and mounts to himself.
package usernstest

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// mark has the name of the test that is run once more.
const mark = "PILLION_TEST_USERNS"

// Rerun runs the calling test once more, in a process that is the given user of
// a user namespace, and reports whether this is that process. Elsewhere it
// returns once that process has ended, and the test is over: it has failed or
// was skipped if the other was, and is skipped where there are no such namespaces.
func Rerun(t *testing.T, user int) (inside bool) {
	t.Helper()
	if os.Getenv(mark) == t.Name() {
		return true
	}
	t.Parallel()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v") //nolint:gosec // ourselves
	c.Env = append(os.Environ(), mark+"="+t.Name())
	c.SysProcAttr = Attr(user, 0)
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Skip("no user namespaces:", err)
	}
	err := c.Wait()
	switch {
	case err != nil:
		t.Errorf("%v\n%s", err, said.String())
	case strings.Contains(said.String(), "--- SKIP"):
		t.Skip(said.String())
	}
	return false
}

// Attr has a process be the given user of a user namespace, and in new
// namespaces of the other kinds that the flags say.
func Attr(user int, flags uintptr) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | flags,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getgid(), Size: 1}},
	}
}
