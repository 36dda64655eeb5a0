package filewatch_test

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// TestTheSystemsOwnLimit runs itself once more, where the system really allows
// few watches.
func TestTheSystemsOwnLimit(t *testing.T) {
	if os.Getenv("FILEWATCH_LIMITED") != "" {
		limited(t)
		return
	}
	t.Parallel()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheSystemsOwnLimit$", "-test.v")
	c.Env = append(os.Environ(), "FILEWATCH_LIMITED=1")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
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
}

func limited(t *testing.T) {
	if err := os.WriteFile("/proc/sys/user/max_inotify_watches", []byte("20"), 0o600); err != nil {
		t.Skip("no limit of our own:", err)
	}
	var mu sync.Mutex
	var out strings.Builder
	w := filewatch.New(slog.New(slog.NewTextHandler(locked{&mu, &out}, nil)))
	run(t, w)
	dir := planted(t, 40)
	told := make(chan string, 100)
	t.Cleanup(w.WatchTree(all(dir), func(changes []filewatch.Change) {
		for _, c := range changes {
			told <- c.Path
		}
	}).Close)
	file := filepath.Join(dir, "x", "a")
	write(t, file, "12")
	if got := within.Receive(t, told); got != file {
		t.Errorf("told of %s", got)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"folders=41", "fs.inotify.max_user_watches=", "sudo sysctl fs.inotify.max_user_watches="} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("not said: %s\n%s", want, out.String())
		}
	}
}
