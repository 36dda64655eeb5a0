package rundir

import (
	"os"
	"syscall"
)

// NetNS is the inode of this process's network namespace: addresses of
// loopback are the same only within one. It is 0 where there is none.
func NetNS() uint64 {
	info, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return 0
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}
