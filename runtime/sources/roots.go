package sources

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/near"
	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// newTree finds where looking begins.
func newTree(o Options) (*tree, error) {
	t := &tree{dir: filepath.Clean(o.Dir), own: o.Own, most: bounds{maxFolders, maxFiles}}
	if len(o.Paths) == 0 {
		if o.Home != "" && (t.dir == filepath.Clean(o.Home) || isBelow(o.Home, t.dir)) {
			return nil, usage(t.dir+" is your home folder, or above it: too much to watch", "name the app's own files: --watch=<paths>")
		}
		return t, t.add(".")
	}
	for _, path := range o.Paths {
		if err := t.add(path); err != nil {
			return nil, err
		}
	}
	// A folder that is meant as a whole comes before one that patterns look
	// through, since each is looked at once.
	slices.SortStableFunc(t.roots, func(a, b root) int {
		switch {
		case a.globbed == b.globbed:
			return 0
		case b.globbed:
			return -1
		}
		return 1
	})
	return t, nil
}

// add adds what a person names.
func (t *tree) add(name string) error {
	path := filepath.Join(t.dir, name)
	if filepath.IsAbs(name) {
		path = filepath.Clean(name)
	}
	_, err := os.Stat(path)
	globbed := err != nil && strings.ContainsAny(name, "*?[")
	if globbed {
		t.globs = append(t.globs, t.name(path))
		for strings.ContainsAny(t.name(path), "*?[") {
			path = filepath.Dir(path)
		}
		_, err = os.Stat(path)
	}
	switch {
	case err != nil:
		return t.missing(path)
	case path == filepath.Dir(path):
		return usage(path+" is all there is: too much to watch", "name the app's own files: --watch=<paths>")
	}
	t.roots = append(t.roots, root{path: path, globbed: globbed})
	return nil
}

// missing says that there is nothing at path.
func (t *tree) missing(path string) error {
	hint := "paths of --watch are relative to the app's folder, " + t.dir
	var names []string
	entries, _ := entriesOf(filepath.Dir(path), maxPaths) // without them, there is no better hint
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if meant := near.Match(filepath.Base(path), names); meant != "" {
		hint = fmt.Sprintf("did you mean %s?", t.name(filepath.Join(filepath.Dir(path), meant)))
	}
	return usage(fmt.Sprintf("there is no %s to watch", t.name(path)), hint)
}

// tooMuch says that there is more than is watched.
func (t *tree) tooMuch(v *view) error {
	most := ""
	for path, n := range v.per {
		if most == "" || n > v.per[most] {
			most = path
		}
	}
	return usage(
		fmt.Sprintf("there are more than %d folders or %d files to watch, most of them in %s", t.most.folders, t.most.files, t.name(most)),
		"name those that count, --watch=<paths>, or have the others ignored by a .gitignore or .pillionignore",
	)
}

func usage(what, hint string) error {
	return &apperr.Error{Reason: apperr.Usage, What: what, Hint: hint}
}

// path is where the file of that name is.
func (t *tree) path(name string) string {
	if path := filepath.FromSlash(name); filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(t.dir, filepath.FromSlash(name))
}

// written are those of the changes that were really written since last, with
// names for paths. If rules have changed, files count that did not, and the
// other way round: nobody has written those.
func (t *tree) written(changes []filewatch.Change, last time.Time) []filewatch.Change {
	rules := t.rules.Swap(false)
	var out []filewatch.Change
	for _, c := range changes {
		if rules && !c.Before.There && c.After.Time < last.UnixNano() {
			continue
		}
		if _, err := os.Lstat(c.Path); err == nil && !c.After.There {
			continue
		}
		c.Path = t.name(c.Path)
		out = append(out, c)
	}
	return out
}
