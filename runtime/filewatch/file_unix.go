//go:build unix

package filewatch

import (
	"io/fs"
	"syscall"
)

// fileOf tells a file from others of its file system.
func fileOf(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}
