package filewatch_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// hearing watches all below a folder by events alone, and tells the paths.
func hearing(t *testing.T, dir string) <-chan string {
	t.Helper()
	w := filewatch.New(nil)
	w.Rarely()
	run(t, w)
	told := make(chan string, 1000)
	t.Cleanup(w.WatchTree(all(dir), func(changes []filewatch.Change) {
		for _, c := range changes {
			told <- c.Path
		}
	}).Close)
	return told
}

// awaits reads what is told until path is.
func awaits(t *testing.T, told <-chan string, path string) {
	t.Helper()
	for within.Receive(t, told) != path {
	}
}

// The system goes on telling of the folder that was there before, wherever that
// is now.
func TestAFolderInAFolderThatWasReplacedIsHeard(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "app")
	deep := filepath.Join(dir, "src", "api", "v1")
	must(t, os.MkdirAll(deep, 0o700))
	told := hearing(t, dir)
	file := filepath.Join(deep, "a.go")
	write(t, file, "1")
	awaits(t, told, file)
	// Another one is in its place before anybody looks.
	must(t, os.CopyFS(filepath.Join(top, "new"), os.DirFS(filepath.Join(dir, "src"))))
	must(t, os.Rename(filepath.Join(dir, "src"), filepath.Join(top, "old")))
	must(t, os.Rename(filepath.Join(top, "new"), filepath.Join(dir, "src")))
	awaits(t, told, file)
	for _, text := range []string{"12", "123"} {
		write(t, file, text)
		awaits(t, told, file)
	}
}

func TestTwoFoldersThatChangePlacesAreHeard(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir := filepath.Join(top, "app")
	for _, name := range []string{"a", "b"} {
		must(t, os.MkdirAll(filepath.Join(dir, name, "in"), 0o700))
		write(t, filepath.Join(dir, name, "in", "file"), name)
	}
	told := hearing(t, dir)
	write(t, filepath.Join(dir, "a", "in", "file"), "12")
	awaits(t, told, filepath.Join(dir, "a", "in", "file"))
	must(t, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c")))
	must(t, os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "a")))
	must(t, os.Rename(filepath.Join(dir, "c"), filepath.Join(dir, "b")))
	awaits(t, told, filepath.Join(dir, "b", "in", "file"))
	for _, name := range []string{"a", "b"} {
		for _, text := range []string{"12345", "123456"} {
			file := filepath.Join(dir, name, "in", "file")
			write(t, file, text)
			awaits(t, told, file)
		}
	}
}

// One folder that nobody may read takes the events from no other.
func TestAFolderThatMayNotBeReadIsLeftOut(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var out strings.Builder
	w := filewatch.New(slog.New(slog.NewTextHandler(locked{&mu, &out}, nil)))
	dir, other := planted(t, 3), filepath.Join(t.TempDir(), "other")
	must(t, os.Mkdir(other, 0o700))
	w.Rarely()
	w.Forbid(filepath.Join(dir, "xx"))
	run(t, w)
	told := make(chan string, 100)
	t.Cleanup(w.Watch(filewatch.Set{Paths: []string{filepath.Join(dir, "xx"), other}}, func() { told <- other }))
	t.Cleanup(w.WatchTree(all(dir), func(changes []filewatch.Change) {
		for _, c := range changes {
			told <- c.Path
		}
	}).Close)
	for _, name := range []string{filepath.Join(dir, "x", "a"), filepath.Join(dir, "xxx", "a")} {
		write(t, name, "12")
		awaits(t, told, name)
	}
	write(t, filepath.Join(other, "a"), "1")
	awaits(t, told, other)
	mu.Lock()
	defer mu.Unlock()
	if out.Len() > 0 {
		t.Errorf("said:\n%s", out.String())
	}
}
