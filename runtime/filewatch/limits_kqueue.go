//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package filewatch

// maxDescriptors bounds the descriptors that watching a tree may take.
const maxDescriptors = 2_000

// advice is which of the system's limits was met, and how it is raised.
func advice(error) []any { return nil }

// tooDear reports whether the system had better not be asked to tell of so many.
// kqueue needs an open file for each, and the connections of the sidecar are
// open files too.
func tooDear(folders, files int) bool { return folders+files > maxDescriptors }
