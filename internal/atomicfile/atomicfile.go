// Package atomicfile replaces files whole: a reader sees the old content or
// the new one, never a part, also after a crash of the machine.
package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write puts data into the file at path with the given permissions, replacing
// what was there. It writes a temporary file named .<base>.*.tmp in the same
// folder, forces it to the disk and renames it. On an error the old file is as
// it was and nothing new is left. A symbolic link at path is replaced, not
// followed. Write blocks for as long as the disk does; of several writers of
// one path the last wins.
func Write(path string, data []byte, perm fs.FileMode) (err error) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	tmp, err := os.CreateTemp(dir, "."+base+".*.tmp")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name()) // already reporting the first error
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if err := fill(tmp, data, perm); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	// The rename has happened: from here on an error would say that the old
	// content is still there.
	syncDir(dir)
	return nil
}

// fill writes data to f, forces it to the disk and closes f in any case.
func fill(f *os.File, data []byte, perm fs.FileMode) error {
	err := f.Chmod(perm)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
