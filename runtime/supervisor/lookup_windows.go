package supervisor

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// executable returns the path, with the extension it was found with, if it is
// a program.
func executable(path, dir string) (string, error) {
	full, err := exec.LookPath(within(dir, path))
	if err != nil {
		if _, statErr := os.Stat(within(dir, path)); statErr == nil {
			return "", &fs.PathError{Op: "execute", Path: path, Err: fs.ErrPermission}
		}
		return "", &fs.PathError{Op: "execute", Path: path, Err: fs.ErrNotExist}
	}
	return full, nil
}

func samePathName(name string) bool { return strings.EqualFold(name, "PATH") }

// programName is what a person types: uvicorn for uvicorn.exe.
func programName(file string) string { return strings.TrimSuffix(file, filepath.Ext(file)) }

func signalName(s syscall.Signal) string { return s.String() }
