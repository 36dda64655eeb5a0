package mdns

import (
	"fmt"
	"net"

	"golang.org/x/net/ipv4"
)

const (
	group = "224.0.0.251"
	port  = 5353
	// lanHops is what RFC 6762 §11 wants; a packet with none never leaves the
	// machine.
	lanHops  = 255
	hostHops = 0
	// receiveBuffer holds the answers of some hundreds of instances at once.
	receiveBuffer = 1 << 20
)

func groupAddr() *net.UDPAddr { return &net.UDPAddr{IP: net.ParseIP(group).To4(), Port: port} }

// A sender is an ephemeral socket that multicasts and hears the answers. It
// belongs to one goroutine.
type sender struct {
	conn *net.UDPConn
	p4   *ipv4.PacketConn
}

// newSender opens a socket. What it sends in host scope cannot leave the
// machine: it comes from loopback, goes to loopback, and has no hops left.
func newSender(lan bool) (*sender, error) {
	from, hops := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, hostHops
	if lan {
		from, hops = &net.UDPAddr{IP: net.IPv4zero}, lanHops
	}
	conn, err := net.ListenUDP("udp4", from)
	if err != nil {
		return nil, fmt.Errorf("open a socket for mDNS: %w", err)
	}
	s := &sender{conn: conn, p4: ipv4.NewPacketConn(conn)}
	if err := s.p4.SetMulticastTTL(hops); err != nil {
		_ = conn.Close() // already reporting the first error
		return nil, fmt.Errorf("limit mDNS to this machine: %w", err)
	}
	// In LAN scope this machine's own instances are found by other ways, where
	// there are any: its sockets need not be woken.
	_ = s.p4.SetMulticastLoopback(!lan || !hasHostScope)
	_ = conn.SetReadBuffer(receiveBuffer)
	return s, nil
}

// multicast sends packets to the group on each interface. It returns an error
// only if nothing could be sent at all.
func (s *sender) multicast(packets [][]byte, ifaces []net.Interface) error {
	var failed error
	sent := false
	for _, i := range ifaces {
		if err := s.p4.SetMulticastInterface(&i); err != nil {
			failed = fmt.Errorf("send mDNS on %s: %w", i.Name, err)
			continue
		}
		for _, p := range packets {
			if _, err := s.conn.WriteToUDP(p, groupAddr()); err != nil {
				failed = fmt.Errorf("send mDNS on %s: %w", i.Name, err)
				continue
			}
			sent = true
		}
	}
	if sent {
		return nil
	}
	return failed
}

func (s *sender) close() { _ = s.conn.Close() }

// A listener hears what is sent to the group on the interfaces it has joined.
type listener struct {
	conn   net.PacketConn
	p4     *ipv4.PacketConn
	joined map[int]bool // by the interface's index
}

func newListener() (*listener, error) {
	conn, err := listenGroup()
	if err != nil {
		return nil, err
	}
	return &listener{conn: conn, p4: ipv4.NewPacketConn(conn), joined: map[int]bool{}}, nil
}

// follow joins the group on new interfaces and forgets those that are gone. An
// interface that was removed and made again has a new index. It reports
// whether there was a new one.
func (l *listener) follow(ifaces []net.Interface) (joined bool) {
	present := map[int]bool{}
	for _, i := range ifaces {
		present[i.Index] = true
		if l.joined[i.Index] {
			continue
		}
		if err := l.p4.JoinGroup(&i, &net.UDPAddr{IP: groupAddr().IP}); err == nil {
			l.joined[i.Index] = true
			joined = true
		}
	}
	for index := range l.joined {
		if !present[index] {
			delete(l.joined, index)
		}
	}
	return joined
}

func (l *listener) close() { _ = l.conn.Close() }
