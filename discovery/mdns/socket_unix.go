//go:build unix

package mdns

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// listenGroup opens a socket bound to the group itself: what is sent to this
// machine's own addresses never reaches it, so it takes nobody's answers and
// shows in no port scan. (The net package binds multicast addresses to the
// wildcard.)
func listenGroup() (net.PacketConn, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, fmt.Errorf("open a socket for mDNS: %w", err)
	}
	f := os.NewFile(uintptr(fd), "mdns")
	defer func() { _ = f.Close() }() // FilePacketConn has a descriptor of its own
	err = unix.SetNonblock(fd, true)
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1)
		}
	}
	if err == nil {
		err = onlyJoined(fd)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte(groupAddr().IP)})
	}
	if err != nil {
		return nil, fmt.Errorf("listen on UDP port %d: %w", port, err)
	}
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("listen on UDP port %d: %w", port, err)
	}
	return conn, nil
}
