package filewatch

import "io/fs"

// fileOf is not known: Windows would have to open the file to say. What takes a
// file's place there is seen by its size and time.
func fileOf(fs.FileInfo) uint64 { return 0 }
