package daprmdns

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

var ours = record{app: "orders", host: "box", pid: 7, addr: netip.MustParseAddrPort("192.0.2.7:50002")}

func texts(records []dns.RR) string {
	var all []string
	for _, rr := range records {
		all = append(all, strings.Join(strings.Fields(rr.String()), " "))
	}
	return strings.Join(all, "\n")
}

// The records are those of Dapr's library.
func TestTheRecordsAreDaprs(t *testing.T) {
	t.Parallel()
	const all = `orders.local. 3200 IN PTR box:7.orders.local.
box:7.orders.local. 3200 IN SRV 0 0 50002 box.local.
box:7.orders.local. 3200 IN TXT "orders"
box.local. 120 IN A 192.0.2.7`
	if got := texts(ours.all()); got != all {
		t.Errorf("%s", got)
	}
	bye := ours
	bye.gone = true
	for _, rr := range bye.all() {
		if rr.Header().Ttl != 0 {
			t.Errorf("a goodbye lives: %v", rr)
		}
	}
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"orders.local.", dns.TypePTR, all},
		{"ORDERS.local.", dns.TypeANY, all},
		{"_services._dns-sd._udp.local.", dns.TypePTR, "_services._dns-sd._udp.local. 3200 IN PTR orders.local."},
		{"box:7.orders.local.", dns.TypeSRV, all[strings.Index(all, "\n")+1:]},
		{"box.local.", dns.TypeA, "box.local. 120 IN A 192.0.2.7"},
		{"invoices.local.", dns.TypePTR, ""},
		{"orders.local.", dns.TypeA, ""},
	} {
		if got := texts(ours.answer(dns.Question{Name: c.name, Qtype: c.kind, Qclass: dns.ClassINET})); got != c.want {
			t.Errorf("%s %d: %s", c.name, c.kind, got)
		}
	}
	for host, want := range map[string]string{"mac.local": "mac.local.", "mac.local.": "mac.local.", "a.b": "a.b.local."} {
		if got := (record{host: host}).hostName(); got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
}

// What packs reads back the same, and what is another's is not taken.
func TestRecordsAreReadBack(t *testing.T) {
	t.Parallel()
	heard := func(m *dns.Msg, app string) []record {
		data, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		got := new(dns.Msg)
		if err := got.Unpack(data); err != nil {
			t.Fatal(err)
		}
		var all []record
		read(got, app, func(r record) { all = append(all, r) })
		return all
	}
	whole := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Answer: ours.all()[:1], Extra: ours.all()[1:]}
	got := heard(whole, "orders")
	if len(got) != 1 || got[0].addr != ours.addr || got[0].gone || got[0].instance() != ours.instance() {
		t.Errorf("%+v", got)
	}
	if got := heard(whole, "order"); len(got) != 0 {
		t.Errorf("another app's: %+v", got)
	}
	bye := ours
	bye.gone = true
	if got := heard(&dns.Msg{Answer: bye.all()}, "orders"); len(got) != 1 || !got[0].gone || got[0].instance() != ours.instance() {
		t.Errorf("a goodbye: %+v", got)
	}
	liar := ours.all()
	liar[2].(*dns.TXT).Txt = []string{"invoices"}
	if got := heard(&dns.Msg{Answer: liar}, "orders"); len(got) != 0 {
		t.Errorf("one whose text is another app's: %+v", got)
	}
	if got := heard(&dns.Msg{Answer: ours.all()[:3]}, "orders"); len(got) != 0 {
		t.Errorf("one without an address: %+v", got)
	}
	six := ours
	six.addr = netip.MustParseAddrPort("[2001:db8::7]:50002")
	if got := heard(&dns.Msg{Answer: append(six.all(), ours.all()[3])}, "orders"); len(got) != 1 || got[0].addr != ours.addr {
		t.Errorf("IPv4 is preferred: %+v", got)
	}
	if got := heard(&dns.Msg{Answer: six.all()}, "orders"); len(got) != 1 || got[0].addr != six.addr {
		t.Errorf("IPv6 if there is no other: %+v", got)
	}
}
