package rundir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

func systemBase(getenv func(string) string) string {
	local := getenv("LOCALAPPDATA")
	if local == "" {
		local = os.TempDir()
	}
	return filepath.Join(local, "pillion", "run")
}

func shortBase() string { return filepath.Join(os.TempDir(), "pillion") }

// ownedByUs trusts the access list that folders below %LOCALAPPDATA% inherit:
// user, administrators, system.
func ownedByUs(fs.FileInfo) (owner string, ours bool) { return "", true }

// modeBits are not kept by Windows.
func modeBits(fs.FileInfo) fs.FileMode { return 0 }

// whileDead calls remove unless the lock file has an owner: a file somebody
// has open cannot be deleted.
func whileDead(lock string, remove func()) {
	if err := os.Remove(lock); err == nil || errors.Is(err, fs.ErrNotExist) {
		remove()
	}
}
