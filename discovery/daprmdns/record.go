package daprmdns

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// The times to live of Dapr's records, in seconds.
const (
	recordTTL  = 3200
	addressTTL = 120
)

const (
	domain      = "local."
	enumeration = "_services._dns-sd._udp.local."
)

// A record is what an instance says of itself.
type record struct {
	app  string
	host string
	pid  int
	name string // of another's instance, as it was heard
	addr netip.AddrPort
	gone bool // it says goodbye
}

// service is the app's name: the bare app ID, in local.
func service(app string) string { return app + "." + domain }

// instance is the instance's name: <host>:<pid>, below the app's.
func (r record) instance() string {
	if r.name != "" {
		return r.name
	}
	return escaped(r.host) + ":" + strconv.Itoa(r.pid) + "." + service(r.app)
}

// hostName is the machine's: some call themselves by a name in local. already.
func (r record) hostName() string {
	return strings.TrimSuffix(strings.TrimSuffix(r.host, "."), ".local") + "." + domain
}

// escaped is s as one label.
func escaped(s string) string { return strings.ReplaceAll(s, ".", `\.`) }

func header(name string, kind uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

// all are the records of an instance, as Dapr's library sends them.
func (r record) all() []dns.RR {
	long, short := uint32(recordTTL), uint32(addressTTL)
	if r.gone {
		long, short = 0, 0
	}
	return []dns.RR{
		&dns.PTR{Hdr: header(service(r.app), dns.TypePTR, long), Ptr: r.instance()},
		&dns.SRV{Hdr: header(r.instance(), dns.TypeSRV, long), Port: r.addr.Port(), Target: r.hostName()},
		&dns.TXT{Hdr: header(r.instance(), dns.TypeTXT, long), Txt: []string{r.app}},
		r.address(short),
	}
}

func (r record) address(ttl uint32) dns.RR {
	if ip := r.addr.Addr(); ip.Is4() {
		return &dns.A{Hdr: header(r.hostName(), dns.TypeA, ttl), A: ip.AsSlice()}
	}
	return &dns.AAAA{Hdr: header(r.hostName(), dns.TypeAAAA, ttl), AAAA: r.addr.Addr().AsSlice()}
}

// answer are the records that a question is answered with.
func (r record) answer(q dns.Question) []dns.RR {
	is := func(kinds ...uint16) bool {
		for _, kind := range kinds {
			if q.Qtype == kind || q.Qtype == dns.TypeANY {
				return true
			}
		}
		return false
	}
	switch all := r.all(); {
	case strings.EqualFold(q.Name, enumeration) && is(dns.TypePTR):
		return []dns.RR{&dns.PTR{Hdr: header(enumeration, dns.TypePTR, recordTTL), Ptr: service(r.app)}}
	case strings.EqualFold(q.Name, service(r.app)) && is(dns.TypePTR):
		return all
	case strings.EqualFold(q.Name, r.instance()) && is(dns.TypeSRV, dns.TypeTXT):
		return all[1:]
	case strings.EqualFold(q.Name, r.hostName()) && is(dns.TypeA, dns.TypeAAAA):
		return all[3:]
	}
	return nil
}

// read gives what a packet says of instances of app to f. A TXT string that is
// not the app ID makes it another's (as Dapr has it).
func read(m *dns.Msg, app string, f func(record)) {
	records := append(append([]dns.RR{}, m.Answer...), m.Extra...)
	addrs, meant := said(records, app)
	below := "." + strings.ToLower(service(app))
	for _, rr := range records {
		srv, ok := rr.(*dns.SRV)
		if !ok {
			continue
		}
		name := strings.ToLower(srv.Hdr.Name)
		if !strings.HasSuffix(name, below) || !meant[name] {
			continue
		}
		addr, known := addrs[strings.ToLower(srv.Target)]
		if known || srv.Hdr.Ttl == 0 {
			f(record{app: app, name: name, addr: netip.AddrPortFrom(addr, srv.Port), gone: srv.Hdr.Ttl == 0})
		}
	}
}

// said are the addresses of hosts, IPv4 before IPv6, and which instances are the
// app's.
func said(records []dns.RR, app string) (addrs map[string]netip.Addr, meant map[string]bool) {
	addrs, meant = map[string]netip.Addr{}, map[string]bool{}
	for _, rr := range records {
		switch rr := rr.(type) {
		case *dns.A:
			keep(addrs, rr.Hdr.Name, rr.A)
		case *dns.AAAA:
			if _, four := addrs[strings.ToLower(rr.Hdr.Name)]; !four {
				keep(addrs, rr.Hdr.Name, rr.AAAA)
			}
		case *dns.TXT:
			meant[strings.ToLower(rr.Hdr.Name)] = len(rr.Txt) > 0 && rr.Txt[0] == app
		}
	}
	return addrs, meant
}

func keep(addrs map[string]netip.Addr, name string, ip []byte) {
	if addr, ok := netip.AddrFromSlice(ip); ok {
		addrs[strings.ToLower(name)] = addr.Unmap()
	}
}
