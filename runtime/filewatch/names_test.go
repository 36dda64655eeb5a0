package filewatch_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// The system tells of a folder by one of its names only.
func TestAFolderWithTwoNamesIsHeardByBoth(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	dir, link := filepath.Join(top, "app"), filepath.Join(top, "link")
	must(t, os.MkdirAll(filepath.Join(dir, "src"), 0o700))
	if err := os.Symlink(dir, link); err != nil {
		t.Skip("no symbolic links:", err)
	}
	w := filewatch.New(nil)
	w.Rarely()
	run(t, w)
	told := map[string]chan string{dir: make(chan string, 100), link: make(chan string, 100)}
	var looks atomic.Int64
	watchings := map[string]*filewatch.Watching{}
	for at, paths := range told {
		watchings[at] = w.WatchTree(below{all(at + "/"), at, &looks}, func(changes []filewatch.Change) {
			for _, c := range changes {
				paths <- c.Path
			}
		})
		t.Cleanup(watchings[at].Close)
	}
	for _, text := range []string{"1", "12"} {
		write(t, filepath.Join(dir, "src", "a"), text)
		for at, paths := range told {
			t.Log("waiting for it in", at)
			within.Receive(t, paths)
		}
	}
	watchings[link].Close()
	write(t, filepath.Join(dir, "src", "b"), "1")
	within.Receive(t, told[dir])
	if n := looks.Load(); n > 100 {
		t.Errorf("looked %d times", n)
	}
}

// below is a tree that knows what is its own.
type below struct {
	all
	dir   string
	looks *atomic.Int64
}

func (b below) Look() filewatch.Sight {
	b.looks.Add(1)
	s := b.all.Look()
	for i, folder := range s.Folders {
		s.Folders[i] = filepath.Clean(folder)
	}
	return s
}

func (b below) Counts(path string) bool { return strings.HasPrefix(path, b.dir) }
