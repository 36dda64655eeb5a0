//go:build unix

package ca

import "io/fs"

// private reports whether nobody but the owner can read the file.
func private(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 == 0 }
