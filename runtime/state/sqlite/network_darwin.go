package sqlite

import "golang.org/x/sys/unix"

// networkFS reports whether a folder is on a network file system, and which.
// What cannot be asked is taken for local.
func networkFS(folder string) (string, bool) {
	var stat unix.Statfs_t
	if unix.Statfs(folder, &stat) != nil {
		return "", false
	}
	if stat.Flags&unix.MNT_LOCAL != 0 {
		return "", false
	}
	return unix.ByteSliceToString(stat.Fstypename[:]), true
}
