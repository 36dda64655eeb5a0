//go:build !windows

package mesh

import "syscall"

const (
	connRefused = syscall.ECONNREFUSED
	connReset   = syscall.ECONNRESET
)
