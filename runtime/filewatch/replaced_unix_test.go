//go:build unix

package filewatch_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// What is moved over a file has changed it, also if it is as long and as old: as
// what is unpacked from an archive, or built the same way each time, may be. It
// is told once.
func TestAnotherFileOfTheSameSizeAndTimeIsAChange(t *testing.T) {
	t.Parallel()
	w := filewatch.New(nil)
	w.Rarely()
	run(t, w)
	dir, aside := t.TempDir(), t.TempDir()
	place, other := filepath.Join(dir, "a"), filepath.Join(aside, "a")
	old := time.Now().Add(-time.Hour)
	for _, path := range []string{place, other} {
		write(t, path, "12")
		must(t, os.Chtimes(path, old, old))
	}
	told := make(chan filewatch.Change, 10)
	watching := w.WatchTree(all(dir), func(changes []filewatch.Change) {
		for _, c := range changes {
			told <- c
		}
	})
	t.Cleanup(watching.Close)
	first := filepath.Join(dir, "first") // the system tells of the folder once this is told
	write(t, first, "1")
	if got := within.Receive(t, told); got.Path != first {
		t.Fatalf("told of %s", got.Path)
	}
	must(t, os.Rename(other, place))
	if got := within.Receive(t, told); got.Path != place {
		t.Errorf("told of %s", got.Path)
	}
	// The look comes before the event, or beside it: that is no second change.
	write(t, other, "123")
	must(t, os.Chtimes(other, old, old))
	must(t, os.Rename(other, place))
	watching.Look()
	if got := within.Receive(t, told); got.Path != place {
		t.Errorf("told of %s", got.Path)
	}
	last := filepath.Join(dir, "last")
	write(t, last, "1")
	if got := within.Receive(t, told); got.Path != last {
		t.Errorf("told of %s", got.Path)
	}
}
