package filewatch

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// maxFiles bounds the files of a folder that are looked at.
const maxFiles = 10_000

// A set is a Set and what is known of it. All but what Watch set is the running
// watcher's.
type set struct {
	Set
	changed func()

	last string // how the files looked when they were told last
}

var _ thing = (*set)(nil)

func (s *set) folders() (list []string, files int) {
	for _, path := range s.Paths {
		list = append(list, folderOf(path))
	}
	return list, 0
}

func (s *set) differs() bool { return s.look() != s.last }

func (s *set) tell(bool) bool {
	s.last = s.look()
	s.changed()
	return true
}

// concerns reports whether something at name may be a change of s.
func (s *set) concerns(name string, op fsnotify.Op) bool {
	if op == fsnotify.Chmod {
		return false // nothing was written
	}
	for _, path := range s.Paths {
		switch {
		case name == path, isBelow(path, name):
			return true
		case filepath.Dir(name) == path:
			return s.Ignore == nil || !s.Ignore(name)
		}
	}
	return false
}

// isBelow reports whether path is in the folder above, however deep.
func isBelow(path, above string) bool {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if dir == above {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}

// look is how the files look: another text for each change, as far as sizes
// and times tell.
func (s *set) look() string {
	h := fnv.New128a()
	note := func(path string) (isDir bool) {
		info, err := os.Stat(path)
		if err != nil {
			return false
		}
		if info.IsDir() {
			_, _ = fmt.Fprintf(h, "%s/\n", path)
			return true
		}
		_, _ = fmt.Fprintf(h, "%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		return false
	}
	for _, path := range s.Paths {
		if !note(path) {
			continue
		}
		for _, name := range names(path) {
			if file := filepath.Join(path, name); s.Ignore == nil || !s.Ignore(file) {
				note(file)
			}
		}
	}
	return string(h.Sum(nil))
}

// names are those of a folder, sorted.
func names(folder string) []string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	out := make([]string, 0, len(entries))
	for _, e := range entries[:min(len(entries), maxFiles)] {
		out = append(out, e.Name())
	}
	return out
}

// folderOf is the folder that tells of a path: itself, or that of a file, or
// the nearest one above it that is there.
func folderOf(path string) string {
	for ; ; path = filepath.Dir(path) {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return path
		}
		if path == filepath.Dir(path) {
			return path
		}
	}
}
