package mdns

import (
	"fmt"
	"net"
)

// listenGroup opens a wildcard socket: Windows binds to no group.
func listenGroup() (net.PacketConn, error) {
	conn, err := net.ListenMulticastUDP("udp4", nil, groupAddr())
	if err != nil {
		return nil, fmt.Errorf("listen on UDP port %d: %w", port, err)
	}
	return conn, nil
}
