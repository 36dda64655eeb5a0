package filewatch_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/internal/usernstest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// It is tested where the system really allows few watches.
func TestTheSystemsOwnLimit(t *testing.T) {
	const root = 0
	if !usernstest.Rerun(t, root) {
		return
	}
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
