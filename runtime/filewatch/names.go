package filewatch

import (
	"io/fs"
	"os"
	"path/filepath"
)

// aliases are the other names of folders, by those without symbolic links: the
// system tells of each folder once, by one name.
type aliases map[string][]string

// of are all the names of what is at path.
func (a aliases) of(path string) []string {
	out := append([]string{path}, a[path]...)
	for _, folder := range a[filepath.Dir(path)] {
		out = append(out, filepath.Join(folder, filepath.Base(path)))
	}
	return out
}

// resolve returns the folders by their names without symbolic links, and the
// others that they have.
func resolve(folders map[string]*watched) (map[string]*watched, aliases) {
	out, others, known := map[string]*watched{}, aliases{}, map[string]string{}
	for name, one := range folders {
		path := realPath(name, known)
		if path != name {
			others[path] = append(others[path], name)
		}
		if was, ok := out[path]; !ok || was != nil {
			out[path] = one
		}
	}
	return out, others
}

// realPath is path without symbolic links, as far as it is there. known are those
// that were found before.
func realPath(path string, known map[string]string) string {
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	if out, ok := known[path]; ok {
		return out
	}
	out := filepath.Join(realPath(parent, known), filepath.Base(path))
	if info, err := os.Lstat(out); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if target, err := filepath.EvalSymlinks(out); err == nil {
			out = target
		}
	}
	known[path] = out
	return out
}
