//go:build unix

package rundir

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// systemBase prefers the folder the system makes for one user's runtime files:
// on memory, private, gone at shutdown. A shell without XDG_RUNTIME_DIR (cron,
// ssh without a session) still meets the others in it.
func systemBase(getenv func(string) string) string {
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "pillion")
	}
	uid := strconv.Itoa(os.Getuid())
	run := filepath.Join("/run/user", uid)
	if info, err := os.Lstat(run); err == nil && info.IsDir() {
		if _, ours := ownedByUs(info); ours {
			return filepath.Join(run, "pillion")
		}
	}
	tmp := getenv("TMPDIR")
	if !filepath.IsAbs(tmp) {
		tmp = "/tmp"
	}
	return filepath.Join(tmp, "pillion-"+uid)
}

// shortBase is where sockets go whose path would be too long.
func shortBase() string { return "/tmp/pillion-" + strconv.Itoa(os.Getuid()) }

// ownedByUs reports whether the file is this user's, and whose it is.
func ownedByUs(info fs.FileInfo) (owner string, ours bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "an unknown user", false
	}
	uid := strconv.FormatUint(uint64(stat.Uid), 10)
	if uid == strconv.Itoa(os.Geteuid()) {
		return "", true
	}
	if u, err := user.LookupId(uid); err == nil {
		return "user " + u.Username, false
	}
	return "user " + uid, false
}

func modeBits(info fs.FileInfo) fs.FileMode { return info.Mode().Perm() }

// whileDead calls remove while nobody can become the owner of the lock file,
// and not at all if somebody is. A shared lock does both: the owner's
// exclusive one excludes it and is excluded by it, while readers' probes are
// shared ones too and go on telling the truth. An owner that opened the file
// before it went notices that its path is gone (filelock).
func whileDead(lock string, remove func()) {
	// A lock file that is gone is made again: without one there is nothing that
	// keeps an owner out between our looking and our removing.
	f, err := os.OpenFile(lock, os.O_RDONLY|os.O_CREATE, 0o600) //nolint:gosec // a path of our own folder
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }() // releases the lock
	if syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) != nil {
		return
	}
	ours, err1 := f.Stat()
	named, err2 := os.Stat(lock)
	if err1 == nil && err2 == nil && os.SameFile(ours, named) {
		remove()
	}
}
