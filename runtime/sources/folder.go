package sources

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pillion-dev/pillion/internal/gitignore"
	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// maxRules bounds what is read of a file with rules.
const maxRules = 1 << 20

// ruleFiles are where a folder's rules stand, the stronger one first.
var ruleFiles = []string{".pillionignore", ".gitignore"}

// A folder is what decides about the files in one. It is never changed.
type folder struct {
	path    string
	up      *folder // whose rules count too; nil for none
	rules   []ruleFile
	outputs []string // names of folders in it that tools write into
	globbed bool     // files count only if a pattern says so
}

// A ruleFile is a file with rules, as it was read.
type ruleFile struct {
	path  string
	stamp filewatch.Stamp
	rules gitignore.Rules
}

// ignores reports whether what is at path, in f, does not count. What f itself
// is in is not asked.
func (f *folder) ignores(path string, dir bool) bool {
	name := filepath.Base(path)
	if never.have(name) || !dir && (neverFiles.have(name) || isSeds(name)) {
		return true
	}
	switch f.verdict(path, dir) {
	case gitignore.Ignored:
		return true
	case gitignore.Kept:
		return false
	case gitignore.Unsaid:
	}
	return outputs.have(name) || dir && slices.Contains(f.outputs, name)
}

// verdict is what the rules say of path; those of the nearest folder count.
func (f *folder) verdict(path string, dir bool) gitignore.Verdict {
	for ; f != nil; f = f.up {
		if len(f.rules) == 0 {
			continue
		}
		below, err := filepath.Rel(f.path, path)
		if err != nil {
			continue
		}
		for _, file := range f.rules {
			if v := file.rules.Judge(filepath.ToSlash(below), dir); v != gitignore.Unsaid {
				return v
			}
		}
	}
	return gitignore.Unsaid
}

// same reports whether f and g have the same rules.
func (f *folder) same(g *folder) bool {
	return slices.Equal(f.outputs, g.outputs) && slices.EqualFunc(f.rules, g.rules, func(a, b ruleFile) bool {
		return a.path == b.path && a.stamp == b.stamp
	})
}

// read reads a file with rules, unless it is as it was. If it cannot be read just
// now, it says what it did.
func (f *folder) read(path string, was *folder) {
	stat := os.Stat
	if filepath.Base(path) == ".gitignore" {
		stat = os.Lstat // git follows no link of that name
	}
	info, err := stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	file := ruleFile{path: path, stamp: filewatch.StampOf(path, info)}
	var old *ruleFile
	if was != nil {
		if i := slices.IndexFunc(was.rules, func(r ruleFile) bool { return r.path == path }); i >= 0 {
			old = &was.rules[i]
		}
	}
	if old == nil || old.stamp != file.stamp {
		if text, err := readAtMost(path, maxRules); err == nil {
			file.rules = gitignore.Parse(text)
			old = &file
		}
	}
	if old != nil {
		f.rules = append(f.rules, *old)
	}
}

// readAtMost is the beginning of a file.
func readAtMost(path string, n int64) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the files are the user's, who named them
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, n))
	return string(text), err
}

// entriesOf are at most n of a folder's.
func entriesOf(path string, n int) ([]fs.DirEntry, error) {
	dir, err := os.Open(path) //nolint:gosec // the folders are the user's, who named them
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // it was only read
	entries, err := dir.ReadDir(n)
	if errors.Is(err, io.EOF) {
		err = nil // it is empty
	}
	return entries, err
}

// isGone reports whether err says that there is nothing, rather than that it
// cannot be seen.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// repository is the folder of the git repository that path is in, and its file
// of rules that are nobody else's. Both are empty if there is none.
func repository(path string) (top, exclude string) {
	for top = path; ; top = filepath.Dir(top) {
		git := filepath.Join(top, ".git")
		info, err := os.Stat(git)
		switch {
		case err == nil && info.IsDir():
			return top, filepath.Join(git, "info", "exclude")
		case err == nil:
			return top, excludeOfWorktree(top, git)
		case top == filepath.Dir(top):
			return "", ""
		}
	}
}

// excludeOfWorktree follows a .git that is a file: a worktree's, or a submodule's.
func excludeOfWorktree(top, git string) string {
	text, _ := readAtMost(git, 4096) // what cannot be read says nothing
	at, found := strings.CutPrefix(strings.TrimSpace(text), "gitdir: ")
	if !found {
		return ""
	}
	if !filepath.IsAbs(at) {
		at = filepath.Join(top, at)
	}
	text, _ = readAtMost(filepath.Join(at, "commondir"), 4096)
	if common := strings.TrimSpace(text); filepath.IsAbs(common) {
		at = common
	} else if common != "" {
		at = filepath.Join(at, common)
	}
	return filepath.Join(at, "info", "exclude")
}
