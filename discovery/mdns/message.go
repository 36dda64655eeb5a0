package mdns

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/rundir"
)

const (
	serviceName = "_pillion._tcp.local."
	subtypeName = "._sub." + serviceName
	hostSuffix  = "-pillion.local."

	// lasting is the time to live of what an instance says, and passing that
	// of a state that will soon be another.
	lasting = 60 * time.Second
	passing = 2 * time.Second

	// unicastReply is the bit by which a question asks for an answer to its
	// sender alone (RFC 6762 §5.4).
	unicastReply = 1 << 15
	// perPacket is how many instances fit into what goes over Ethernet in one
	// piece.
	perPacket = 3
)

var errMessage = errors.New("not a message for us")

// ttl is how long what is said of a state may be believed.
func ttl(s discovery.State) time.Duration {
	switch s {
	case discovery.Ready, "":
		return lasting
	case gone:
		return 0
	case discovery.Starting, discovery.Unhealthy, discovery.Restarting, discovery.Draining:
		return passing
	}
	return passing
}

// question asks for the instances behind labels.
func question(labels ...string) ([]byte, error) {
	m := dns.Msg{}
	for _, label := range labels {
		m.Question = append(m.Question, dns.Question{
			Name: label + subtypeName, Qtype: dns.TypePTR, Qclass: dns.ClassINET | unicastReply,
		})
	}
	return m.Pack()
}

// questions reads the labels a packet asks for; none if it is no question.
func questions(m *dns.Msg) []string {
	if m.Response || m.Opcode != dns.OpcodeQuery || m.Truncated {
		return nil
	}
	var labels []string
	for _, q := range m.Question {
		if label, ok := asked(q); ok {
			labels = append(labels, label)
		}
	}
	return labels
}

// asked returns the label a question is for. Names are compared without case
// (RFC 6762 §16).
func asked(q dns.Question) (label string, ok bool) {
	if q.Qclass&^unicastReply != dns.ClassINET && q.Qclass&^unicastReply != dns.ClassANY {
		return "", false
	}
	if q.Qtype != dns.TypePTR && q.Qtype != dns.TypeANY {
		return "", false
	}
	return strings.CutSuffix(strings.ToLower(q.Name), subtypeName)
}

// resources are the resource records of r, as answers to a question for label.
func (k *keys) resources(label string, r record) []dns.RR {
	seconds := uint32(ttl(r.state) / time.Second) //nolint:gosec // a minute at most
	instance, host := r.instance+"."+serviceName, r.instance+hostSuffix
	header := func(name string, kind uint16) dns.RR_Header {
		return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: seconds}
	}
	var port uint16
	if len(r.addrs) > 0 {
		port = r.addrs[0].Port()
	}
	rrs := []dns.RR{
		&dns.PTR{Hdr: header(label+subtypeName, dns.TypePTR), Ptr: instance},
		&dns.SRV{Hdr: header(instance, dns.TypeSRV), Port: port, Target: host},
		&dns.TXT{Hdr: header(instance, dns.TypeTXT), Txt: k.encode(r)},
	}
	for _, a := range firstOfEach(r.addrs) {
		if ip := a.Addr(); ip.Is4() {
			rrs = append(rrs, &dns.A{Hdr: header(host, dns.TypeA), A: ip.AsSlice()})
		} else {
			rrs = append(rrs, &dns.AAAA{Hdr: header(host, dns.TypeAAAA), AAAA: ip.WithZone("").AsSlice()})
		}
	}
	return rrs
}

// firstOfEach is one address of each family: ours are all in the TXT record,
// these are for other people's tools.
func firstOfEach(addrs []netip.AddrPort) []netip.AddrPort {
	var out []netip.AddrPort
	seen := map[bool]bool{}
	for _, a := range addrs {
		if four := a.Addr().Is4(); !seen[four] {
			seen[four] = true
			out = append(out, a)
		}
	}
	return out
}

// responses packs records into as many packets as they need.
func (k *keys) responses(label func(record) string, records []record) [][]byte {
	var packets [][]byte
	for len(records) > 0 {
		n := min(perPacket, len(records))
		m := dns.Msg{Compress: true}
		m.Response, m.Authoritative = true, true
		for _, r := range records[:n] {
			m.Answer = append(m.Answer, k.resources(label(r), r)...)
		}
		if wire, err := m.Pack(); err == nil {
			packets = append(packets, wire)
		}
		records = records[n:]
	}
	return packets
}

// parse reads a packet. It never trusts it: what it returns has been unpacked,
// no more.
func parse(packet []byte) (*dns.Msg, error) {
	var m dns.Msg
	if err := m.Unpack(packet); err != nil {
		return nil, errMessage
	}
	return &m, nil
}

// read returns the records of a response that were made with these keys.
// Everything else in it is other people's.
func (k *keys) read(m *dns.Msg) []record {
	if !m.Response || m.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess {
		return nil
	}
	var records []record
	for _, section := range [][]dns.RR{m.Answer, m.Extra} {
		for _, rr := range section {
			txt, ok := rr.(*dns.TXT)
			if !ok {
				continue
			}
			instance, ok := strings.CutSuffix(strings.ToLower(txt.Hdr.Name), "."+serviceName)
			if !ok || !rundir.IsID(instance) {
				continue
			}
			if r, err := k.decode(instance, txt.Txt); err == nil {
				records = append(records, r)
			}
		}
	}
	return records
}
