//go:build !linux

package rundir

// NetNS is the inode of this process's network namespace; 0, for this system
// has none.
func NetNS() uint64 { return 0 }
