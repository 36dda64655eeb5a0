package sources

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pillion-dev/pillion/internal/gitignore"
	"github.com/pillion-dev/pillion/runtime/filewatch"
)

const (
	// maxFolders and maxFiles bound what is watched.
	maxFolders = 10_000
	maxFiles   = 50_000
)

// A tree finds the files that count.
type tree struct {
	dir   string
	roots []root
	globs []string // relative to dir, with slashes
	own   []string
	most  bounds
	log   *slog.Logger
	said  bool // that there is too much to watch: Look's alone

	view  atomic.Pointer[view] // of the last look
	rules atomic.Bool          // rules have changed since somebody asked
}

var _ filewatch.Tree = (*tree)(nil)

// bounds are how much is watched.
type bounds struct{ folders, files int }

// A root is a file or folder where looking begins.
type root struct {
	path    string
	globbed bool
}

// A view is what one look has found. It is never changed.
type view struct {
	folders map[string]*folder // that are looked at, by path, and others whose rules count
	inside  map[string]bool    // those that are looked at
	named   map[string]bool    // files that count in any case
	full    bool               // there is more than the bounds allow
	per     map[string]int     // folders and files of each folder directly below a root
}

// Look finds the files that count now.
func (t *tree) Look() filewatch.Sight {
	l := &look{
		tree:  t,
		was:   t.view.Load(),
		view:  &view{folders: map[string]*folder{}, inside: map[string]bool{}, named: map[string]bool{}, per: map[string]int{}},
		sight: filewatch.Sight{Files: map[string]filewatch.Stamp{}},
		in:    map[string]bool{},
	}
	for _, r := range t.roots {
		l.in[r.path] = true
	}
	for _, r := range t.roots {
		l.root(r)
	}
	t.view.Store(l.view)
	if l.was != nil && l.view.full && !t.said {
		t.said = true
		t.log.Warn("there are too many files to watch all of them: name those that count by --watch=<paths>",
			"folders", t.most.folders, "files", t.most.files)
	}
	if l.changed {
		t.rules.Store(true)
	}
	return l.sight
}

// Counts reports whether something at path may be one of the sources, or says
// which are.
func (t *tree) Counts(path string) bool {
	v := t.view.Load()
	for _, r := range t.roots {
		if path == r.path || isBelow(r.path, path) {
			return true
		}
	}
	if v.named[path] {
		return true
	}
	in := filepath.Dir(path)
	if !v.inside[in] {
		return false
	}
	if slices.Contains(ruleFiles, filepath.Base(path)) {
		return true
	}
	info, err := os.Lstat(path)
	dir := err == nil && info.IsDir()
	return !t.ignores(v.folders[in], path, dir)
}

// ignores reports whether what is at path, in f, does not count.
func (t *tree) ignores(f *folder, path string, dir bool) bool {
	if slices.Contains(t.own, path) || f.ignores(path, dir) {
		return true
	}
	return f.globbed && !dir && !t.isMeant(path)
}

// isMeant reports whether one of the patterns stands for path.
func (t *tree) isMeant(path string) bool {
	name := t.name(path)
	return slices.ContainsFunc(t.globs, func(glob string) bool { return gitignore.Match(glob, name) })
}

// name is path as a person would give it, with slashes.
func (t *tree) name(path string) string {
	name, err := filepath.Rel(t.dir, path)
	if err != nil {
		name = path
	}
	return filepath.ToSlash(name)
}

// isBelow reports whether path is in the folder above, however deep.
func isBelow(path, above string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(above, string(filepath.Separator))+string(filepath.Separator))
}

// A look is one going through the files.
type look struct {
	tree    *tree
	was     *view // nil for the first
	view    *view
	sight   filewatch.Sight
	changed bool            // the rules
	in      map[string]bool // the roots
	within  string          // what is being looked at directly below a root
}

// root looks at a root and all below it.
func (l *look) root(r root) {
	info, err := os.Stat(r.path)
	switch {
	case err != nil:
		l.sight.Folders = append(l.sight.Folders, nearest(r.path))
		if !isGone(err) {
			l.sight.Unseen = append(l.sight.Unseen, r.path)
		}
	case info.IsDir():
		l.folder(r.path, l.above(r.path), r.globbed)
	default:
		l.view.named[r.path] = true
		l.sight.Folders = append(l.sight.Folders, filepath.Dir(r.path))
		if link, err := os.Lstat(r.path); err == nil {
			l.file(r.path, link)
		}
	}
}

// nearest is the nearest folder above path that is there.
func nearest(path string) string {
	for {
		if info, err := os.Stat(path); err == nil && info.IsDir() || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// folder looks at a folder and all below it.
func (l *look) folder(path string, up *folder, globbed bool) {
	if l.view.inside[path] {
		return
	}
	if len(l.view.inside) == l.tree.most.folders {
		l.view.full = true
		return
	}
	entries, err := entriesOf(path, l.tree.most.files+1)
	if err != nil && !isGone(err) {
		l.sight.Unseen = append(l.sight.Unseen, path)
	}
	l.view.full = l.view.full || len(entries) > l.tree.most.files
	names, files := make([]string, len(entries)), []string{}
	for i, e := range entries {
		names[i] = e.Name()
	}
	for _, name := range ruleFiles {
		if slices.Contains(names, name) {
			files = append(files, filepath.Join(path, name))
		}
	}
	f := l.keep(path, &folder{path: path, up: up, outputs: outputsBeside(names), globbed: globbed}, files)
	l.view.inside[path] = true
	l.sight.Folders = append(l.sight.Folders, path)
	for _, e := range entries {
		l.entry(f, e)
	}
}

// keep reads a folder's rules, and keeps it under a key.
func (l *look) keep(key string, f *folder, files []string) *folder {
	var was *folder
	if l.was != nil {
		was = l.was.folders[key]
	}
	for _, file := range files {
		f.read(file, was)
	}
	if was != nil && !f.same(was) {
		l.changed = true
	}
	l.view.folders[key] = f
	return f
}

// above is the folder above a root, for the rules of those between it and the
// top of the repository. If they ignore the root, or all that is in it, somebody
// named it on purpose: nil.
func (l *look) above(path string) *folder {
	top, exclude := repository(path)
	switch {
	case top == "" && !isBelow(path, l.tree.dir):
		return nil
	case top == "":
		top = l.tree.dir
	}
	f := &folder{path: top}
	if exclude != "" {
		f = l.keep(exclude, f, []string{exclude})
	}
	for in := top; in != path; in = childTowards(in, path) {
		files := make([]string, len(ruleFiles))
		for i, name := range ruleFiles {
			files[i] = filepath.Join(in, name)
		}
		f = l.keep("above "+in, &folder{path: in, up: f}, files)
		if f.verdict(childTowards(in, path), true) == gitignore.Ignored {
			return nil
		}
	}
	if path != top && f.verdict(filepath.Join(path, anyName), false) == gitignore.Ignored {
		return nil
	}
	return f
}

// anyName is a file's name that no rule is about, unless it is about all.
const anyName = "\x01"

// childTowards is what is in a folder on the way to path.
func childTowards(folder, path string) string {
	below, err := filepath.Rel(folder, path)
	if err != nil {
		return path
	}
	first, _, _ := strings.Cut(below, string(filepath.Separator))
	return filepath.Join(folder, first)
}

// entry looks at what is in a folder.
func (l *look) entry(f *folder, e fs.DirEntry) {
	path := filepath.Join(f.path, e.Name())
	if l.tree.ignores(f, path, e.IsDir()) {
		return
	}
	if l.in[f.path] {
		l.within = path
	}
	l.view.per[l.within]++
	if e.IsDir() {
		l.folder(path, f, f.globbed)
		return
	}
	info, err := e.Info()
	switch {
	case err == nil:
		l.file(path, info)
	case !isGone(err):
		l.sight.Unseen = append(l.sight.Unseen, path)
	}
}

func (l *look) file(path string, info fs.FileInfo) {
	if !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0 {
		return // a socket, a pipe
	}
	stamp := filewatch.StampOf(path, info)
	switch {
	case !stamp.There: // a link to a folder
	case len(l.sight.Files) == l.tree.most.files:
		l.view.full = true
	default:
		l.sight.Files[path] = stamp
	}
}
