//go:build unix

package atomicfile

import "os"

// syncDir makes a rename in dir survive a power cut. Some file systems cannot
// sync a folder; there is nothing better to do then.
func syncDir(dir string) {
	d, err := os.Open(dir) //nolint:gosec // the caller's own folder
	if err != nil {
		return
	}
	_ = d.Sync()
	_ = d.Close()
}
