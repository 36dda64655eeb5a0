//go:build !linux

package porttest

import "net"

// keep finds a port that is free now.
func keep() (port uint16, release func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, nil, err
	}
	number := ln.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // its only kind
	return uint16(number), func() {}, ln.Close()
}
