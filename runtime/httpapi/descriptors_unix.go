//go:build unix

package httpapi

import "golang.org/x/sys/unix"

// descriptorShare is four fifths of the descriptors this process may have.
func descriptorShare() int {
	const few, many = 200, 1 << 20
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return few
	}
	return int(max(min(uint64(limit.Cur), many)/5*4, 1)) //nolint:unconvert // Cur is signed on some systems
}
