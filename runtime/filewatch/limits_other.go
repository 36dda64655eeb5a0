//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd && !dragonfly

package filewatch

// advice is which of the system's limits was met, and how it is raised.
func advice(error) []any { return nil }

// tooDear reports whether the system had better not be asked to tell of so many.
func tooDear(_, _ int) bool { return false }
