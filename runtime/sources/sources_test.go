package sources_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
	"github.com/pillion-dev/pillion/runtime/sources"
)

// ways are those by which a change is seen.
var ways = map[string]func() *filewatch.Watcher{
	"by events":  func() *filewatch.Watcher { return filewatch.New(nil) },
	"by looking": func() *filewatch.Watcher { return filewatch.NewPolling(nil, 20*time.Millisecond) },
}

// bothWays runs a test with events and without.
func bothWays(t *testing.T, test func(t *testing.T, files *filewatch.Watcher)) {
	t.Parallel()
	for name, watcher := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := watcher()
			run(t, files)
			test(t, files)
		})
	}
}

func run(t *testing.T, files *filewatch.Watcher) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- files.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := within.Receive(t, ended); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func watch(t *testing.T, o sources.Options) *sources.Watched {
	t.Helper()
	w, err := sources.Watch(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// write writes files with folders, each given as its path and its text. Each is
// one change, also to who looks while a busy machine gives the test no time.
func write(t *testing.T, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, filepath.FromSlash(files[i]))
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		writeFile(t, path, files[i+1])
	}
}

// writeFile writes a text that is no shorter over the one that is there. Else it
// does as editors do: a file that is nobody's source takes the name.
func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() <= int64(len(text)) {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(t, err)
		_, err = file.WriteString(text)
		must(t, err)
		must(t, file.Close())
		return
	}
	must(t, os.WriteFile(path+"~", []byte(text), 0o600))
	must(t, os.Rename(path+"~", path))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants waits until all the paths, and no other, have been told.
func wants(t *testing.T, w *sources.Watched, paths ...string) {
	t.Helper()
	slices.Sort(paths)
	var told []string
	for !slices.Equal(told, paths) {
		c := within.Receive(t, w.Changed())
		told = slices.Compact(slices.Sorted(slices.Values(append(told, c.Paths...))))
		if len(told) > len(paths) || len(c.Loop) > 0 {
			t.Fatalf("told of %v, loop %v; want %v", told, c.Loop, paths)
		}
	}
}

func TestEachKindOfChangeIsTold(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, "main.go", "1", "old/a.go", "1")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }

		write(t, dir, "main.go", "12")
		wants(t, w, "main.go")
		write(t, dir, "new.go", "1")
		wants(t, w, "new.go")
		write(t, dir, "a/b/c/deep.go", "1", "a/b/x.go", "1")
		wants(t, w, "a/b/c/deep.go", "a/b/x.go")
		write(t, dir, "a/b/c/deep.go", "12")
		wants(t, w, "a/b/c/deep.go")
		must(t, os.Rename(at("a"), at("z")))
		wants(t, w, "a/b/c/deep.go", "a/b/x.go", "z/b/c/deep.go", "z/b/x.go")
		write(t, dir, "z/b/c/deep.go", "123")
		wants(t, w, "z/b/c/deep.go")
		write(t, dir, "main.go~", "123")
		must(t, os.Rename(at("main.go~"), at("main.go")))
		wants(t, w, "main.go")
		must(t, os.Remove(at("new.go")))
		wants(t, w, "new.go")
	})
}

func TestARootThatGoesAndComesAgain(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := filepath.Join(t.TempDir(), "app")
		write(t, dir, "main.go", "1")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		must(t, os.RemoveAll(dir))
		wants(t, w, "main.go")
		write(t, dir, "main.go", "1", "lib/b.go", "1")
		wants(t, w, "main.go", "lib/b.go")
		write(t, dir, "lib/b.go", "12")
		wants(t, w, "lib/b.go")
	})
}

func TestATouchCountsAndAModeDoesNot(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, "a.go", "1", "b.go", "1")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		must(t, os.Chmod(filepath.Join(dir, "a.go"), 0o400))
		if _, err := os.ReadFile(filepath.Join(dir, "a.go")); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "b.go"))
		must(t, err)
		later := info.ModTime().Add(1e9)
		must(t, os.Chtimes(filepath.Join(dir, "b.go"), later, later))
		wants(t, w, "b.go")
	})
}

func TestManyFilesAreOneChange(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir, aside := t.TempDir(), t.TempDir()
		const n = 300
		for i := range n {
			write(t, aside, "src/"+strings.Repeat("x", i%20+1)+"/"+strings.Repeat("y", i/20+1)+".go", "1")
		}
		w := watch(t, sources.Options{Dir: dir, Files: files})
		must(t, os.Rename(filepath.Join(aside, "src"), filepath.Join(dir, "src")))
		c := within.Receive(t, w.Changed())
		if c.Total != n || len(c.Paths) != 100 || !slices.IsSorted(c.Paths) || c.Paths[0] != "src/x/y.go" {
			t.Errorf("told of %d files, %d by name: %v", c.Total, len(c.Paths), c.Paths)
		}
	})
}

func TestASlowReaderGetsAllAtOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		w := watch(t, sources.Options{Dir: dir, Files: files})
		seen := watch(t, sources.Options{Dir: dir, Files: files})
		write(t, dir, "b.go", "1")
		wants(t, seen, "b.go")
		write(t, dir, "a.go", "1")
		wants(t, seen, "a.go")
		write(t, dir, "b.go", "12")
		wants(t, seen, "b.go")
		within.Until(t, "all of it", func() bool { return len(w.Changed()) == 1 })
		wants(t, w, "a.go", "b.go")
	})
}
