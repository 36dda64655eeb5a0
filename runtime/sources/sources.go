// Package sources watches the source files of an app: which files those are,
// when they have changed, and whether a person changed them or the app's own
// start or build did.
package sources

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// maxPaths bounds the paths that are named in Changes.
const maxPaths = 100

// Changes are what has changed since the last ones.
type Changes struct {
	// Paths are the files, relative to the app's folder, with slashes, sorted:
	// the first hundred. Total is how many there are; zero if only Loop is said.
	Paths []string
	Total int
	// Loop are files that changed after each of several starts in a row, most
	// likely by the app itself. They no longer count, and are said once.
	Loop []string
}

// Options say what is watched.
type Options struct {
	// Dir is the app's working folder, an absolute path.
	Dir string
	// Paths are files, folders and patterns such as src/**/*.go, relative to
	// Dir. They are watched even if a .gitignore ignores them. Empty: Dir.
	Paths []string
	// Own are files and folders, absolute, that are never the app's sources:
	// what pillion writes, and what it watches by itself.
	Own []string
	// Home is the user's home folder, which is too much to be watched unless
	// it is named in Paths; empty for none.
	Home string
	// Files is the process's watcher. It must be running for changes to be seen.
	Files *filewatch.Watcher
	// Logger is told what a person should know; nil discards.
	Logger *slog.Logger
}

// A Watched is what Watch watches. It is safe for concurrent use.
type Watched struct {
	tree    *tree
	files   *filewatch.Watching
	changed chan Changes // capacity 1; only send and drop send

	mu      sync.Mutex // guards what follows
	last    time.Time  // when changes were heard last
	pending news       // what is in changed, if it is still there
	builds  builds
	vain    bool // the last build has run to its end, and nothing was started
	loop    loop
}

// news are Changes with all their paths.
type news struct{ paths, loops map[string]bool }

// Watch watches the sources of an app until Close. A path that is not there, and
// a folder with too much in it, are errors that say what to do.
func Watch(o Options) (*Watched, error) {
	t, err := newTree(o)
	if err != nil {
		return nil, err
	}
	return t.watch(o)
}

func (t *tree) watch(o Options) (*Watched, error) {
	if t.log = o.Logger; t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	w := &Watched{tree: t, changed: make(chan Changes, 1), last: time.Now()}
	w.files = o.Files.WatchTree(t, w.heard)
	if v := t.view.Load(); v.full {
		w.Close()
		return nil, t.tooMuch(v)
	}
	return w, nil
}

// Changed gets what has changed, once the writing has come to rest. Whoever
// reads slowly gets everything since at once. It is never closed.
func (w *Watched) Changed() <-chan Changes { return w.changed }

// Close ends the watching: nothing is sent any more when it returns.
func (w *Watched) Close() { w.files.Close() }

// Build says that a build begins, which has in it all that has changed until
// now: it is not told any more. end says that the build has ended, whether well
// or not, or was cut off. What is most likely a person's change is told
// meanwhile, at once, so that the build is cut off and another one, with all in
// it, begun. After a build of which nothing was told yet, what has changed is
// told at the end, except for the products.
func (w *Watched) Build() (end func()) {
	w.files.Look()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.vain {
		w.loop.restarted(time.Time{}) // nothing changes because of a start
	}
	w.builds.begin()
	w.drop()
	return w.built
}

func (w *Watched) built() {
	w.mu.Lock()
	w.builds.closing = true
	w.mu.Unlock()
	w.files.Look()
	w.mu.Lock()
	defer w.mu.Unlock()
	changes := w.builds.end(w.tree.path)
	w.vain = !w.builds.cut
	if !w.builds.cut && !w.tell(changes, true) {
		w.builds.cuts = 0
	}
}

// Restarted says that the app has been started, for the first time or anew.
func (w *Watched) Restarted() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.vain = false
	w.loop.restarted(time.Now())
}

// heard is told by the watcher.
func (w *Watched) heard(changes []filewatch.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changes = w.tree.written(changes, w.last)
	w.last = time.Now()
	if !w.builds.running {
		w.builds.beside(changes, w.tree.path)
		w.tell(changes, false)
		return
	}
	w.builds.during(changes)
	changes = slices.DeleteFunc(changes, w.loop.has)
	w.send(w.builds.cutOff(changes, w.tree.path), nil)
}

// tell sends what has changed unless it is of a loop, and reports whether it is.
func (w *Watched) tell(changes []filewatch.Change, byBuild bool) (told bool) {
	names, loops := w.loop.judge(changes, byBuild, time.Now())
	w.send(names, loops)
	return len(names) > 0
}

// send sends it, together with what nobody has read yet.
func (w *Watched) send(names, loops []string) {
	if len(names) == 0 && len(loops) == 0 {
		return
	}
	select {
	case <-w.changed:
	default: // it was read
		w.pending = news{}
	}
	w.pending.add(names, loops)
	w.changed <- w.pending.changes()
}

// drop takes back what nobody has read, but for what is said once.
func (w *Watched) drop() {
	select {
	case <-w.changed:
		w.pending.paths = nil
		if len(w.pending.loops) > 0 {
			w.changed <- w.pending.changes()
		}
	default: // it was read
	}
}

func (n *news) add(paths, loops []string) {
	if n.paths == nil {
		n.paths = map[string]bool{}
	}
	if n.loops == nil {
		n.loops = map[string]bool{}
	}
	for _, path := range paths {
		n.paths[path] = true
	}
	for _, path := range loops {
		n.loops[path] = true
	}
}

func (n *news) changes() Changes {
	return Changes{Paths: first(n.paths), Total: len(n.paths), Loop: first(n.loops)}
}

// first are the first of the names, sorted.
func first(names map[string]bool) []string {
	out := sorted(names)
	return slices.Clip(out[:min(len(out), maxPaths)])
}

func sorted(names map[string]bool) []string { return slices.Sorted(maps.Keys(names)) }
