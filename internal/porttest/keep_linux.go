package porttest

import (
	"errors"
	"os"
	"syscall"
)

// attempts bounds the search for a port that is free over IPv4 and IPv6.
const attempts = 100

// keep binds a socket of each family that never listens. Such a socket keeps
// its port from being chosen by the system; with SO_REUSEADDR, which Go and
// most others set on listeners, it is in nobody's way who names the port.
func keep() (port uint16, release func(), err error) {
	for range attempts {
		four, err := bind(&syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		if err != nil {
			return 0, nil, err
		}
		at, err := syscall.Getsockname(four)
		if err != nil {
			_ = syscall.Close(four) // already reporting the first error
			return 0, nil, os.NewSyscallError("getsockname", err)
		}
		port := uint16(at.(*syscall.SockaddrInet4).Port) //nolint:gosec,forcetypeassert // a port, of the family bound
		six, err := bind(&syscall.SockaddrInet6{Port: int(port), Addr: [16]byte{15: 1}})
		switch {
		case err == nil:
			return port, func() { _ = syscall.Close(four); _ = syscall.Close(six) }, nil
		case errors.Is(err, syscall.EADDRINUSE):
			_ = syscall.Close(four) // somebody listens there over IPv6
		default: // a machine without IPv6
			return port, func() { _ = syscall.Close(four) }, nil
		}
	}
	return 0, nil, errors.New("no port is free over IPv4 and IPv6")
}

// bind returns a socket bound to addr.
func bind(addr syscall.Sockaddr) (fd int, err error) {
	family := syscall.AF_INET
	if _, six := addr.(*syscall.SockaddrInet6); six {
		family = syscall.AF_INET6
	}
	fd, err = syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = os.NewSyscallError("setsockopt", syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	if err == nil {
		err = os.NewSyscallError("bind", syscall.Bind(fd, addr))
	}
	if err != nil {
		_ = syscall.Close(fd) // already reporting the first error
		return -1, err
	}
	return fd, nil
}
