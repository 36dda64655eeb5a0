package meshtest_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	internalsv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	"github.com/miekg/dns"
	"google.golang.org/grpc"
)

// Two machines without a shared home, on one cable: they find each other by
// Dapr's records, and the records are Dapr's.
func TestClearTextSidecarsFindEachOtherByDaprsRecords(t *testing.T) {
	t.Parallel()
	nsA, nsB := cable(t)
	a, b := newMachine(t), newMachine(t)
	a.netns, b.netns = nsA, nsB
	// The app is in the test, which is elsewhere: who is called is what counts.
	callee := b.clear("orders")
	caller := a.clear("web")
	callee.await("local service entry announced: orders -> " + addrB + ":")
	r := caller.reach("/v1.0/invoke/orders/method/a")
	if r.status != 500 || !strings.Contains(string(r.body), "app channel is not initialized") {
		t.Errorf("a callee without an app: %v", r)
	}

	// What is said to a question of Dapr's own kind, and to one from anywhere.
	for name, port := range map[string]int{"from the group's port": 5353, "from any port": 0} {
		m := question(t, a, "orders.local.", port)
		if m == nil {
			t.Errorf("%s: nobody answers", name)
			continue
		}
		var told []string
		for _, rr := range append(m.Answer, m.Extra...) {
			told = append(told, strings.Join(strings.Fields(rr.String()), " "))
		}
		all := strings.Join(told, "\n")
		host, _, _ := strings.Cut(strings.TrimPrefix(told[0], "orders.local. 3200 IN PTR "), ":")
		_, meshPort, _ := net.SplitHostPort(callee.mesh)
		for _, want := range []string{
			"orders.local. 3200 IN PTR " + host + ":", ".orders.local. 3200 IN SRV 0 0 " + meshPort + " ", `.orders.local. 3200 IN TXT "orders"`,
			".local. 120 IN A " + addrB,
		} {
			if !strings.Contains(all, want) {
				t.Errorf("%s: no %q in\n%s", name, want, all)
			}
		}
	}
}

// On one machine, with homes and runtime folders of their own, they find each
// other on loopback if that is all they are told of, and nothing leaves the
// machine.
func TestClearTextSidecarsOfOneMachineFindEachOther(t *testing.T) {
	t.Parallel()
	nsA, nsB := cable(t)
	seen := capture(t, nsB, "eth0", "host "+addrA+" and not arp")
	a, b := newMachine(t), newMachine(t)
	a.netns, b.netns = nsA, nsA
	callee := a.clear("orders", "--dapr-internal-grpc-listen-address", "127.0.0.1")
	caller := b.clear("web", "--dapr-internal-grpc-listen-address", "127.0.0.1")
	if r := caller.reach("/v1.0/invoke/orders/method/a"); r.status != 500 || !strings.Contains(string(r.body), "app channel is not initialized") {
		t.Errorf("a callee without an app: %v", r)
	}
	callee.stop()
	until(t, "the goodbye is heard", func() bool {
		r := caller.get("/v1.0/invoke/orders/method/a")
		return strings.Contains(string(r.body), "couldn't find service: orders")
	})
	if data := seen.end(addrA); len(data) != 0 {
		t.Errorf("%d bytes of packets left the machine", len(data))
	}
}

// An official sidecar is found by its record and called.
func TestDaprIsFoundByItsRecord(t *testing.T) {
	t.Parallel()
	nsA, nsB := cable(t)
	a := newMachine(t)
	a.netns = nsA
	server := grpc.NewServer()
	internalsv1.RegisterServiceInvocationServer(server, daprd{})
	var ln net.Listener
	var group *net.UDPConn
	if err := inside(nsB, func() (err error) {
		if ln, err = net.Listen("tcp", addrB+":0"); err != nil {
			return err
		}
		iface, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		group, err = net.ListenMulticastUDP("udp4", iface, &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = server.Serve(ln) // Stop ends it
		close(done)
	}()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		answerAsDapr(group, "official", ln.Addr().(*net.TCPAddr).Port)
	}()
	t.Cleanup(func() { server.Stop(); <-done; _ = group.Close(); <-answered })
	caller := a.clear("web")
	caller.reach("/v1.0/invoke/official/method/a")
	r := caller.call(http.MethodPost, "/v1.0/invoke/official/method/a", "", strings.NewReader("data"))
	if !r.ok() || string(r.body) != "data" || r.header.Get("X-Caller") != "web" {
		t.Errorf("%v", r)
	}
	if r := caller.get("/v1.0/invoke/nobody/method/a"); r.status != 500 || !strings.Contains(string(r.body), "ERR_DIRECT_INVOKE") {
		t.Errorf("nobody: %v", r)
	}
}

// answerAsDapr answers as Dapr's library does: with the pointer as the answer
// and the rest beside it, to the asker alone only if that was asked for.
func answerAsDapr(conn *net.UDPConn, app string, port int) {
	buf := make([]byte, 9000)
	for {
		n, from, err := conn.ReadFromUDP(buf)
		if err != nil {
			return
		}
		m := new(dns.Msg)
		if m.Unpack(buf[:n]) != nil || m.Response || len(m.Question) != 1 || m.Question[0].Name != app+".local." {
			continue
		}
		const flush = 1 << 15
		head := func(name string, kind, class uint16, ttl uint32) dns.RR_Header {
			return dns.RR_Header{Name: name, Rrtype: kind, Class: class, Ttl: ttl}
		}
		instance := "box:77." + app + ".local."
		out := new(dns.Msg)
		out.Response, out.Authoritative = true, true
		out.Answer = []dns.RR{&dns.PTR{Hdr: head(app+".local.", dns.TypePTR, dns.ClassINET, 3200), Ptr: instance}}
		out.Extra = []dns.RR{
			&dns.SRV{Hdr: head(instance, dns.TypeSRV, dns.ClassINET|flush, 3200), Port: uint16(port), Target: "box.local."},
			&dns.TXT{Hdr: head(instance, dns.TypeTXT, dns.ClassINET|flush, 3200), Txt: []string{app}},
			&dns.A{Hdr: head("box.local.", dns.TypeA, dns.ClassINET|flush, 120), A: net.ParseIP(addrB)},
		}
		to := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}
		if m.Question[0].Qclass&flush != 0 {
			to = from
		}
		if data, err := out.Pack(); err == nil {
			_, _ = conn.WriteToUDP(data, to) // it is asked again
		}
	}
}

// question asks for a service's instances from a port, and is the first answer;
// nil if there is none.
func question(t *testing.T, m *machine, name string, port int) *dns.Msg {
	t.Helper()
	ask := new(dns.Msg)
	ask.SetQuestion(name, dns.TypePTR)
	ask.RecursionDesired = false
	data, err := ask.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var conn *net.UDPConn
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}
	if err := inside(m.netns, func() (err error) {
		if port != 0 {
			iface, err := net.InterfaceByName("eth0")
			if err != nil {
				return err
			}
			conn, err = net.ListenMulticastUDP("udp4", iface, group)
			return err
		}
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(addrA)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // it was only read from
	buf := make([]byte, 9000)
	for late := time.Now().Add(patience); time.Now().Before(late); {
		if _, err := conn.WriteToUDP(data, group); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second)) // packets get lost: it is asked again
		for {
			n, _, err := conn.ReadFromUDP(buf)
			if err != nil {
				break
			}
			got := new(dns.Msg)
			if got.Unpack(buf[:n]) == nil && got.Response && len(got.Answer) > 0 && got.Answer[0].Header().Name == name {
				return got
			}
		}
	}
	return nil
}
