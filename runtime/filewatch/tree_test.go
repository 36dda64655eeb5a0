package filewatch_test

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// all is a tree of everything below a folder.
type all string

func (a all) Look() filewatch.Sight {
	s := filewatch.Sight{Files: map[string]filewatch.Stamp{}}
	_ = filepath.WalkDir(string(a), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it went meanwhile
		}
		if d.IsDir() {
			s.Folders = append(s.Folders, path)
		} else if info, err := d.Info(); err == nil {
			s.Files[path] = filewatch.StampOf(path, info)
		}
		return nil
	})
	return s
}

func (a all) Counts(string) bool { return true }

// planted is a folder with many in it.
func planted(t *testing.T, folders int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range folders {
		sub := filepath.Join(dir, strings.Repeat("x", i+1))
		must(t, os.Mkdir(sub, 0o700))
		write(t, filepath.Join(sub, "a"), "1")
	}
	return dir
}

// moveIn has a file come from elsewhere: one change, whenever somebody looks.
func moveIn(t *testing.T, path, text string) {
	t.Helper()
	aside := filepath.Join(t.TempDir(), "aside")
	write(t, aside, text)
	must(t, os.Rename(aside, path))
}

// A tree that needs more than the system gives is looked at, and takes nothing
// from the others.
func TestATreeThatIsTooLargeForTheSystemIsLookedAt(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var out strings.Builder
	w := filewatch.New(slog.New(slog.NewTextHandler(locked{&mu, &out}, nil)))
	w.Rarely()
	w.Full(20)
	run(t, w)
	large, small, flat := planted(t, 40), planted(t, 5), planted(t, 0)
	told := make(chan string, 100)
	tell := func(name string) func([]filewatch.Change) {
		return func(changes []filewatch.Change) {
			for range changes {
				told <- name
			}
		}
	}
	for name, dir := range map[string]string{"large": large, "small": small} {
		t.Cleanup(w.WatchTree(all(dir), tell(name)).Close)
	}
	t.Cleanup(w.Watch(filewatch.Set{Paths: []string{flat}}, func() { told <- "flat" }))
	for range 2 {
		for name, file := range map[string]string{"large": filepath.Join(large, "x", "a"), "small": filepath.Join(small, "x", "a"), "flat": filepath.Join(flat, "a")} {
			moveIn(t, file, name+"+")
			if got := within.Receive(t, told); got != name {
				t.Errorf("told of %s, want %s", got, name)
			}
			for len(told) > 0 {
				<-told
			}
			write(t, file, "")
			within.Receive(t, told)
			for len(told) > 0 {
				<-told
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if said := out.String(); strings.Count(said, "cannot tell of changes") != 1 || !strings.Contains(said, "folders=41") {
		t.Errorf("said:\n%s", said)
	}
}

func TestLookTellsWithoutRun(t *testing.T) {
	t.Parallel()
	w := filewatch.New(nil)
	dir := planted(t, 2)
	var told []string
	g := w.WatchTree(all(dir), func(changes []filewatch.Change) {
		for _, c := range changes {
			told = append(told, filepath.Base(c.Path))
		}
	})
	g.Look()
	write(t, filepath.Join(dir, "b"), "1")
	write(t, filepath.Join(dir, "c"), "1")
	g.Look()
	g.Look()
	g.Close()
	write(t, filepath.Join(dir, "d"), "1")
	g.Look()
	if got := strings.Join(told, " "); got != "b c" {
		t.Errorf("told of %q", got)
	}
}

func TestPollingAsksTheSystemForNothing(t *testing.T) {
	t.Parallel()
	w := filewatch.NewPolling(nil, 1)
	w.Unasked(t)
	run(t, w)
	dir := t.TempDir()
	told := make(chan struct{}, 100)
	t.Cleanup(w.Watch(filewatch.Set{Paths: []string{dir}}, func() { told <- struct{}{} }))
	write(t, filepath.Join(dir, "a"), "1")
	within.Receive(t, told)
}

// A look takes long because it is dear, or because a busy machine gives it no time.
func TestALookThatTookLongIsNotTheLastForLong(t *testing.T) {
	t.Parallel()
	w := filewatch.New(nil)
	for took, want := range map[time.Duration]time.Duration{
		time.Millisecond: time.Second, 100 * time.Millisecond: 5 * time.Second, 3 * time.Second: 15 * time.Second,
	} {
		if got := w.Pause(took); got != want {
			t.Errorf("after a look of %v the next one is after %v, want %v", took, got, want)
		}
	}
}
