// Package resident keeps the resident memory of this process small.
package resident

// Trim takes the pages of the process's own program out of its memory that
// nobody has written to: code and constants. What is used again comes back from
// the system's cache, without a read of the disk, in microseconds; what only the
// start needed stays away. It does not block, is safe for concurrent use, and
// does nothing where the system has no such thing.
func Trim() { trim() }
