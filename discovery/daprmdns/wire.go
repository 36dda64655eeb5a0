package daprmdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"
)

// group is multicast DNS over IPv4 (RFC 6762 §3).
var group = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}

// maxPacket is the largest packet that is taken.
const maxPacket = 9000

// open is a socket that sends to the group on one interface.
func open(iface *net.Interface) (*net.UDPConn, error) {
	from := net.IPv4zero
	if iface.Flags&net.FlagLoopback != 0 {
		from = net.IPv4(127, 0, 0, 1)
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: from})
	if err != nil {
		return nil, err
	}
	p := ipv4.NewPacketConn(conn)
	err = errors.Join(p.SetMulticastInterface(iface), p.SetMulticastTTL(255), p.SetMulticastLoopback(true))
	if err != nil {
		_ = conn.Close() // already reporting the first error
		return nil, fmt.Errorf("mdns on %s: %w", iface.Name, err)
	}
	return conn, nil
}

// announce sends an instance's records, unasked.
func announce(iface *net.Interface, r record) error {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Answer: r.all()}
	data, err := m.Pack()
	if err != nil {
		return err
	}
	conn, err := open(iface)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // what was sent was sent
	_, err = conn.WriteToUDP(data, group)
	return err
}

// query asks for app's instances and gives f each that answers, until ctx ends.
// Answers come to the socket that asked: it is not the group's port, so others
// answer it directly (RFC 6762 §6.7).
func query(ctx context.Context, iface *net.Interface, app string, f func(record)) error {
	m := new(dns.Msg)
	m.SetQuestion(service(app), dns.TypePTR)
	m.RecursionDesired = false
	data, err := m.Pack()
	if err != nil {
		return err
	}
	conn, err := open(iface)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }) // ends the wait below
	defer stop()
	if _, err := conn.WriteToUDP(data, group); err != nil {
		return err
	}
	buf := make([]byte, maxPacket)
	for ctx.Err() == nil {
		n, _, err := conn.ReadFromUDP(buf)
		if err != nil {
			return nil //nolint:nilerr // the time is over, or the interface has gone: nobody has answered
		}
		got := new(dns.Msg)
		if got.Unpack(buf[:n]) == nil && got.Response {
			read(got, app, f)
		}
	}
	return nil
}
