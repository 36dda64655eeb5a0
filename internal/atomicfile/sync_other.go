//go:build !unix

package atomicfile

// syncDir does nothing: folders cannot be synced here.
func syncDir(string) {}
