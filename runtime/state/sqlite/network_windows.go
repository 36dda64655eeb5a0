package sqlite

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// networkFS reports whether a folder is on a network drive. What cannot be
// asked is taken for local.
func networkFS(folder string) (string, bool) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return "", false
	}
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(absolute) + `\`)
	if err != nil {
		return "", false
	}
	return "network drive", windows.GetDriveType(root) == windows.DRIVE_REMOTE
}
