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

// port is multicast DNS's, and group where it is spoken over IPv4 (RFC 6762 §3).
const port = 5353

var group = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: port}

const (
	// maxPacket is the largest packet that is taken, and maxQuestions how many
	// questions of one are answered.
	maxPacket    = 9000
	maxQuestions = 32
	// directly is the bit of a question's class that asks for an answer to the
	// asker alone (RFC 6762 §5.4). Dapr's library sends it to the group
	// otherwise, where a socket of another port does not hear it.
	directly = 1 << 15
)

// open is a socket of any port that sends to the group on one interface.
func open(iface *net.Interface) (*net.UDPConn, error) {
	from := net.IPv4zero
	if iface.Flags&net.FlagLoopback != 0 {
		from = net.IPv4(127, 0, 0, 1)
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: from})
	if err != nil {
		return nil, err
	}
	return conn, aim(conn, iface)
}

// join is a socket of the group's port that hears what is said on one interface
// and sends there. Others have sockets of that port, too.
func join(iface *net.Interface) (*net.UDPConn, error) {
	conn, err := net.ListenMulticastUDP("udp4", iface, group)
	if err != nil {
		return nil, err
	}
	return conn, aim(conn, iface)
}

// aim has what conn sends to the group go out on iface. It closes conn if it
// fails.
func aim(conn *net.UDPConn, iface *net.Interface) error {
	p := ipv4.NewPacketConn(conn)
	err := errors.Join(p.SetMulticastInterface(iface), p.SetMulticastTTL(255), p.SetMulticastLoopback(true))
	if err != nil {
		_ = conn.Close() // already reporting the first error
		return fmt.Errorf("mdns on %s: %w", iface.Name, err)
	}
	return nil
}

// announce sends an instance's records, unasked: from the group's port, as it
// has to be, or from another if that is kept from us.
func announce(iface *net.Interface, r record) error {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Answer: r.all()}
	data, err := m.Pack()
	if err != nil {
		return err
	}
	conn, err := join(iface)
	if err != nil {
		if conn, err = open(iface); err != nil {
			return err
		}
	}
	defer func() { _ = conn.Close() }() // what was sent was sent
	_, err = conn.WriteToUDP(data, group)
	return err
}

// query asks for app's instances and gives f each that answers, until ctx ends.
func query(ctx context.Context, iface *net.Interface, app string, f func(record)) error {
	m := new(dns.Msg)
	m.SetQuestion(service(app), dns.TypePTR)
	m.Question[0].Qclass |= directly
	m.RecursionDesired = false
	data, err := m.Pack()
	if err != nil {
		return err
	}
	conn, err := open(iface)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it was only read from
	stop := unblock(ctx, conn)
	defer stop()
	if _, err := conn.WriteToUDP(data, group); err != nil {
		return err
	}
	buf := make([]byte, maxPacket)
	for ctx.Err() == nil {
		n, _, err := conn.ReadFromUDP(buf)
		if err != nil {
			return nil // the time is over, or the interface has gone: nobody has answered
		}
		got := new(dns.Msg)
		if got.Unpack(buf[:n]) == nil && got.Response {
			read(got, app, f)
		}
	}
	return nil
}

// unblock ends conn's reads when ctx ends.
func unblock(ctx context.Context, conn *net.UDPConn) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) }) // a closed one has ended its reads
}

// A responder answers on one interface.
type responder struct {
	s     *Service
	conn  *net.UDPConn
	iface *net.Interface
}

// run answers until ctx ends, and closes the socket.
func (r *responder) run(ctx context.Context) {
	defer func() { _ = r.conn.Close() }() // what was sent was sent
	stop := unblock(ctx, r.conn)
	defer stop()
	p := ipv4.NewPacketConn(r.conn)
	_ = p.SetControlMessage(ipv4.FlagInterface, true) // not everywhere: from then tells, too
	buf := make([]byte, maxPacket)
	for {
		n, cm, from, err := p.ReadFrom(buf)
		if err != nil {
			return // the time is over, or the interface has gone
		}
		asker, ok := from.(*net.UDPAddr)
		if !ok || cm != nil && cm.IfIndex != 0 && cm.IfIndex != r.iface.Index {
			continue // on some systems a socket hears what others of its port have joined
		}
		if loop := r.iface.Flags&net.FlagLoopback != 0; loop != asker.IP.IsLoopback() {
			continue
		}
		m := new(dns.Msg)
		if m.Unpack(buf[:n]) != nil {
			continue
		}
		if m.Response {
			r.s.overhear(m)
			continue
		}
		if reply, to := r.reply(m, asker); reply != nil {
			_, _ = r.conn.WriteToUDP(reply, to) // who has gone cannot be told
		}
	}
}

// reply is the answer to a packet of questions, and to whom it goes: to the
// asker alone if that was asked for, or if its port is not the group's (RFC
// 6762 §6.7); nil if there is nothing to say.
func (r *responder) reply(m *dns.Msg, asker *net.UDPAddr) ([]byte, *net.UDPAddr) {
	own, ok := r.s.present()
	if !ok || len(m.Question) > maxQuestions {
		return nil, nil
	}
	out := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true}
	to := group
	for _, q := range m.Question {
		records := own.answer(q)
		if len(records) == 0 {
			continue
		}
		if q.Qclass&directly != 0 {
			to = asker
		}
		out.Answer = append(out.Answer, records...)
	}
	if asker.Port != port {
		to = asker
		out.Id, out.Question = m.Id, m.Question
	}
	if len(out.Answer) == 0 {
		return nil, nil
	}
	data, err := out.Pack()
	if err != nil {
		return nil, nil
	}
	return data, to
}
