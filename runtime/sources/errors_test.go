package sources_test

import (
	"errors"
	"fmt"
	"os"
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
	large := t.TempDir()
	for i := range 10_001 {
		must(t, os.MkdirAll(filepath.Join(large, "cache", fmt.Sprint(i)), 0o700))
	}
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
		"too large":      {sources.Options{Dir: large}, "most of them in cache", ".gitignore"},
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
