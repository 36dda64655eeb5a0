package mdns

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"time"

	hashicorp "github.com/hashicorp/mdns"
	"github.com/miekg/dns"
)

// message is a DNS message.
type message = dns.Msg

const (
	// followEvery is how often interfaces are looked at in LAN scope (77 µs).
	followEvery = 2 * time.Second
	// sweepTime is how long the library's client collects answers.
	sweepTime = 300 * time.Millisecond
	// maxSweep bounds them: its sends never wait, so what does not fit is lost.
	maxSweep = 1024
	// mdnsPort is what questions of other programs' responders come from.
	mdnsPort = port
)

var errClosed = errors.New("the socket was closed")

// respond answers the scope's questions until ctx ends or its socket fails. It
// calls up once it does.
func (s *scope) respond(ctx context.Context, up func()) error {
	l, err := newListener()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, l.close)
	defer l.close()
	defer stop()
	ifaces, err := s.interfaces()
	if err != nil {
		return err
	}
	l.follow(ifaces)
	if s.lan {
		return s.answerLAN(ctx, l, ifaces, up)
	}
	up()
	return s.answerHost(ctx, l)
}

// answerHost answers what is asked on loopback, with our own socket: it hears
// nothing else (a server of the library would hear the LAN).
func (s *scope) answerHost(ctx context.Context, l *listener) error {
	return s.listen(ctx, l, func(m *message, from *net.UDPAddr) {
		if !from.IP.IsLoopback() || from.Port == mdnsPort {
			return
		}
		for _, label := range questions(m) {
			records := s.zone.answer(label)
			for _, packet := range s.keys.responses(func(record) string { return label }, records) {
				_, _ = l.conn.WriteTo(packet, from) // who asked may have gone
			}
		}
	})
}

// answerLAN has the library answer on all interfaces, while our own socket
// joins those that come and hears announcements and goodbyes.
func (s *scope) answerLAN(ctx context.Context, l *listener, ifaces []net.Interface, up func()) error {
	l.onlyResponses()
	servers, err := s.serve(ifaces)
	if err != nil {
		return err
	}
	defer func() {
		for _, server := range servers {
			_ = server.Shutdown()
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	up()
	parts.Go(func() { s.keepUp(ctx, l, ifaces) })
	return s.listen(ctx, l, nil)
}

// keepUp follows the interfaces and asks who is there on new ones.
func (s *scope) keepUp(ctx context.Context, l *listener, ifaces []net.Interface) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	s.sweep(ctx, ifaces)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ifaces, err := s.interfaces()
		if err == nil && l.follow(ifaces) {
			s.sweep(ctx, ifaces)
		}
	}
}

// listen reads packets until ctx ends, takes in the responses and hands the
// questions to asked, if it is not nil.
func (s *scope) listen(ctx context.Context, l *listener, asked func(*message, *net.UDPAddr)) error {
	buf := make([]byte, 1<<16)
	for {
		m, from, open := l.next(buf)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // that is how it is meant to end
		case !open:
			return errClosed
		case m == nil:
		case m.Response:
			s.take(m)
		case asked != nil:
			asked(m, from)
		}
	}
}

// next waits for a packet; it has no message if it is none, and is not open
// if there will be no more.
func (l *listener) next(buf []byte) (m *message, from *net.UDPAddr, open bool) {
	n, addr, err := l.conn.ReadFrom(buf)
	if errors.Is(err, net.ErrClosed) {
		return nil, nil, false
	}
	from, ok := addr.(*net.UDPAddr)
	if err != nil || !ok {
		return nil, nil, true
	}
	m, _ = parse(buf[:n]) // anybody may send anything
	return m, from, true
}

// serve starts the library's servers.
func (s *scope) serve(ifaces []net.Interface) ([]*hashicorp.Server, error) {
	on, err := serverInterfaces(ifaces)
	if err != nil {
		return nil, err
	}
	var servers []*hashicorp.Server
	for _, i := range on {
		server, err := hashicorp.NewServer(&hashicorp.Config{Zone: s, Iface: &i, Logger: quiet()})
		if err != nil {
			for _, started := range servers {
				_ = started.Shutdown()
			}
			return nil, err
		}
		servers = append(servers, server)
	}
	return servers, nil
}

// Records answers the library's server. It sees neither who asks nor where, so
// the scope is in the name; and nothing above it recovers.
func (s *scope) Records(q dns.Question) (rrs []dns.RR) {
	defer func() {
		if recover() != nil {
			rrs = nil
		}
	}()
	label, ok := asked(q)
	if !ok {
		return nil
	}
	for _, r := range s.zone.answer(label) {
		rrs = append(rrs, s.keys.resources(label, r)...)
	}
	return rrs
}

// sweep asks all machines for all their instances, with the library's client.
// Entries are read only after it has returned: until then it writes in them.
func (s *scope) sweep(ctx context.Context, ifaces []net.Interface) {
	for _, i := range ifaces {
		if ctx.Err() != nil {
			return
		}
		entries := make(chan *hashicorp.ServiceEntry, maxSweep)
		err := hashicorp.QueryContext(ctx, &hashicorp.QueryParam{
			Service: s.keys.every + "._sub._pillion._tcp", Timeout: sweepTime, Interface: &i,
			Entries: entries, WantUnicastResponse: true, DisableIPv6: true, Logger: quiet(),
		})
		close(entries)
		if err != nil {
			continue // the interface has gone, or has no route: announcements are heard all the same
		}
		for e := range entries {
			rr := &dns.TXT{Hdr: dns.RR_Header{Name: e.Name, Rrtype: dns.TypeTXT}, Txt: e.InfoFields}
			m := &message{Answer: []dns.RR{rr}}
			m.Response = true
			s.take(m)
		}
	}
}

// quiet is for a library that would write to our standard error.
//
//nolint:forbidigo // the library takes no other logger
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
