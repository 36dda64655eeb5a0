package sources_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/filewatch"
	"github.com/pillion-dev/pillion/runtime/sources"
)

func TestWhatCannotBeWatchedIsSaidWithWhatToDo(t *testing.T) {
	t.Parallel()
	dir := plant(t, "main.go", "source/a.go")
	root := filepath.VolumeName(dir) + string(filepath.Separator)
	for name, c := range map[string]struct {
		o          sources.Options
		what, hint string
	}{
		"not there":      {sources.Options{Dir: dir, Paths: []string{"lib"}}, "there is no lib to watch", dir},
		"misspelt":       {sources.Options{Dir: dir, Paths: []string{"sorce"}}, "there is no sorce to watch", "did you mean source?"},
		"of a pattern":   {sources.Options{Dir: dir, Paths: []string{"lib/**/*.go"}}, "there is no lib to watch", dir},
		"everything":     {sources.Options{Dir: root}, "too much to watch", "--watch=<paths>"},
		"home":           {sources.Options{Dir: dir, Home: dir}, "your home folder", "--watch=<paths>"},
		"above the home": {sources.Options{Dir: filepath.Dir(dir), Home: dir}, "your home folder", "--watch=<paths>"},
	} {
		c.o.Files = filewatch.New(nil)
		w, err := sources.Watch(c.o)
		if err == nil {
			w.Close()
		}
		var e *apperr.Error
		if !errors.As(err, &e) || e.Reason != apperr.Usage || !strings.Contains(e.What, c.what) || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("%s: %#v, want %q and %q", name, e, c.what, c.hint)
		}
	}
	if w, err := sources.Watch(sources.Options{Dir: dir, Home: dir, Paths: []string{"."}, Files: filewatch.New(nil)}); err != nil {
		t.Errorf("the home folder, by its name: %v", err)
	} else {
		w.Close()
	}
}

func TestTooMuchIsSaidWithWhereItIs(t *testing.T) {
	t.Parallel()
	dir := plant(t, "main.go", "src/a/a.go", "cache/1/a", "cache/2/a", "cache/3/a", "cache/4/a")
	for _, c := range []struct {
		folders, files int
		fine           bool
	}{{8, 6, true}, {7, 6, false}, {8, 5, false}} {
		w, err := sources.WatchFew(sources.Options{Dir: dir, Files: filewatch.New(nil)}, c.folders, c.files)
		if err == nil {
			w.Close()
		}
		if (err == nil) != c.fine || err != nil && !strings.Contains(err.Error(), "most of them in cache") {
			t.Errorf("%d folders, %d files: %v", c.folders, c.files, err)
		}
	}
}

func TestOneFolderWithTooManyFiles(t *testing.T) {
	t.Parallel()
	dir := plant(t, "a", "b", "c", "d")
	if w, err := sources.WatchFew(sources.Options{Dir: dir, Files: filewatch.New(nil)}, 10, 2); err == nil {
		w.Close()
		t.Error("nothing is said")
	}
}

func TestThatThereIsTooMuchLaterIsSaidOnce(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	dir := plant(t, "main.go")
	w, err := sources.WatchFew(sources.Options{Dir: dir, Files: filewatch.New(nil), Logger: slog.New(slog.NewTextHandler(&out, nil))}, 10, 2)
	must(t, err)
	for _, name := range []string{"a.go", "b.go", "c.go"} {
		end := w.Build()
		write(t, dir, name, "1")
		end()
	}
	w.Close()
	if n := strings.Count(out.String(), "too many files"); n != 1 {
		t.Errorf("said %d times: %s", n, out.String())
	}
}

// Who edits the rules has not changed a source.
func TestChangedRulesAreNoChange(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, ".gitignore", "gen/\n", "gen/a.go", "1", "main.go", "1", "doc/b.md", "1")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		write(t, dir, ".gitignore", "doc/\n")
		write(t, dir, "main.go", "12")
		wants(t, w, "main.go")
		write(t, dir, "doc/b.md", "12")
		write(t, dir, "gen/a.go", "12")
		wants(t, w, "gen/a.go")
	})
}
