package filewatch

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// young is the age below which a file may be in the middle of being written, and
// may be written once more without another time or size.
const young = 50 * time.Millisecond

// A Tree is folders with what is below them, as far as it counts.
type Tree interface {
	// Look looks at all that counts now. It is not called twice at once.
	Look() Sight
	// Counts reports whether something at path may be the tree's, so that it
	// is worth a look. It may be called during a Look.
	Counts(path string) bool
}

// A Sight is how a tree looks.
type Sight struct {
	// Files are those that count, by their absolute paths.
	Files map[string]Stamp
	// Folders are those in which something may change, with absolute paths.
	Folders []string
	// Unseen are files, and folders with all below them, that are there but
	// could not be looked at, absolute: they are as they were.
	Unseen []string
}

// A Stamp tells one state of a file from another. The zero Stamp is that of no
// file.
type Stamp struct {
	There bool
	Size  int64
	Time  int64 // when it was written, in nanoseconds since 1970
	Link  int64 // when the symbolic link to it was made; zero for none
	// File is which file it is; zero where the system does not say. It counts
	// only where an event said that another one took the place: some file
	// systems give the same file other numbers.
	File uint64
}

// StampOf is the state of the file at path, through a symbolic link, whose info
// is that of the link itself. What is no regular file has the zero Stamp.
func StampOf(path string, info fs.FileInfo) Stamp {
	var link int64
	if info.Mode()&fs.ModeSymlink != 0 {
		link = info.ModTime().UnixNano()
		if target, err := os.Stat(path); err == nil {
			info = target
		}
	}
	if !info.Mode().IsRegular() {
		return Stamp{}
	}
	return Stamp{There: true, Size: info.Size(), Time: info.ModTime().UnixNano(), Link: link, File: fileOf(info)}
}

// A Change is a file that came, went or was written.
type Change struct {
	Path          string
	Before, After Stamp
}

// A Watching is a tree that is watched.
type Watching struct {
	w       *Watcher
	tree    Tree
	changed func([]Change)
	detach  func() // set before anybody else has the Watching

	looking sync.Mutex // held while the files are looked at and told of
	told    map[string]Stamp
	came    map[string]bool // where something came since then, by an event
	closed  bool

	mu    sync.Mutex // guards what follows
	where []string   // Sight.Folders of the last look
	files int
}

var _ thing = (*Watching)(nil)

// WatchTree has changed called with what has changed since WatchTree or the last
// call, sorted by path; several states of a file between two calls are one
// change, or none. Writing is let come to rest for 0.1 s, a second at most. A
// file that was read, or whose mode has changed, has not changed; one that was
// touched has. The calls come one after the other, from Run's goroutine or from
// Look's, and must not call the Watching's methods.
func (w *Watcher) WatchTree(t Tree, changed func([]Change)) *Watching {
	g := &Watching{w: w, tree: t, changed: changed, came: map[string]bool{}}
	g.told = g.look()
	g.detach = w.attach(g)
	return g
}

// Look looks at the files now. What has changed has been told when it returns.
func (g *Watching) Look() {
	before, _ := g.folders()
	g.tell(true)
	if after, _ := g.folders(); !slices.Equal(before, after) {
		g.w.nudge()
	}
}

// Close ends it: no call of changed is running when it returns, and none comes
// any more.
func (g *Watching) Close() {
	g.detach()
	g.looking.Lock()
	defer g.looking.Unlock()
	g.closed = true
}

// look looks at the files; looking is held.
func (g *Watching) look() map[string]Stamp {
	sight := g.tree.Look()
	slices.Sort(sight.Folders)
	for _, unseen := range sight.Unseen {
		for path, stamp := range g.told {
			if _, seen := sight.Files[path]; !seen && (path == unseen || isBelow(path, unseen)) {
				sight.Files[path] = stamp
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.where, g.files = sight.Folders, len(sight.Files)
	return sight.Files
}

func (g *Watching) folders() (list []string, files int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.where, g.files
}

func (g *Watching) concerns(path string, op fsnotify.Op) bool {
	if !g.tree.Counts(path) {
		return false
	}
	if op.Has(fsnotify.Create) {
		g.looking.Lock()
		defer g.looking.Unlock()
		g.came[path] = true
	}
	if op != fsnotify.Chmod {
		return true
	}
	// It may have been touched.
	info, err := os.Lstat(path)
	if err != nil {
		return true
	}
	g.looking.Lock()
	defer g.looking.Unlock()
	return g.told[path] != StampOf(path, info)
}

func (g *Watching) differs() bool {
	g.looking.Lock()
	defer g.looking.Unlock()
	return len(g.differences(g.look())) > 0
}

func (g *Watching) tell(now bool) bool {
	g.looking.Lock()
	defer g.looking.Unlock()
	if g.closed {
		return true
	}
	files := g.look()
	changes := g.differences(files)
	if !now && slices.ContainsFunc(changes, isYoung) {
		return false
	}
	g.told = files
	clear(g.came)
	if len(changes) > 0 {
		g.changed(changes)
	}
	return true
}

func isYoung(c Change) bool {
	age := time.Since(time.Unix(0, c.After.Time))
	return c.After.There && age.Abs() < young
}

// differences are what has changed since it was told, sorted by path. looking is
// held.
func (g *Watching) differences(after map[string]Stamp) []Change {
	before := g.told
	var out []Change
	for path, stamp := range after {
		was := before[path]
		same := stamp
		same.File = was.File
		switch {
		case was == same && !g.came[path]:
			after[path] = was // until an event says that it is another one
		case was != stamp:
			out = append(out, Change{Path: path, Before: was, After: stamp})
		}
	}
	for path, was := range before {
		if _, still := after[path]; !still {
			out = append(out, Change{Path: path, Before: was})
		}
	}
	slices.SortFunc(out, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return out
}
