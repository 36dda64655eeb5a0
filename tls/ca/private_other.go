//go:build !unix

package ca

import "io/fs"

// private reports true: modes say nothing here, the profile folder's access
// list does.
func private(fs.FileInfo) bool { return true }
