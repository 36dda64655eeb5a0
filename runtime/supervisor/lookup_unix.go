//go:build unix

package supervisor

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// executable returns the path if it is a file we may execute.
func executable(path, dir string) (string, error) {
	full := within(dir, path)
	info, err := os.Stat(full)
	if err != nil {
		return "", err
	}
	// Root may execute what has an x for anybody; access(2) knows.
	if info.IsDir() || unix.Access(full, unix.X_OK) != nil {
		return "", &fs.PathError{Op: "execute", Path: path, Err: fs.ErrPermission}
	}
	return path, nil
}

func samePathName(name string) bool { return name == "PATH" }

func programName(file string) string { return file }

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return s.String()
}
