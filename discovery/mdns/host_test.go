//go:build linux

package mdns_test

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/discovery/mdns"
	"github.com/pillion-dev/pillion/internal/within"
)

const orders = "orders"

func TestOnLoopbackAloneInstancesOfTwoFoldersMeet(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	one := node(t, ns, nodeConfig{Base: t.TempDir(), App: orders, Instance: "aaaaaaaa", Mesh: "127.0.0.1:4001"})
	node(t, ns, nodeConfig{Base: t.TempDir(), App: orders, Instance: "bbbbbbbb", Mesh: "127.0.0.1:4002"})
	asker := node(t, ns, nodeConfig{})
	r := asker.until("find orders", found("aaaaaaaa", "bbbbbbbb"))
	first := r.Endpoints[0]
	if !first.Local || first.Source != mdns.Name || first.State != discovery.Ready || first.Namespace != "default" ||
		len(first.Addrs) != 1 || first.Addrs[0] != netip.MustParseAddrPort("127.0.0.1:4001") {
		t.Errorf("found %+v", first)
	}
	if r := asker.do("find nobody"); len(r.Endpoints) != 0 || r.Took > patience {
		t.Errorf("nobody is found: %+v", r)
	}
	// Having asked for nobody, it knows who is there: for "did you mean".
	if r := asker.do("all"); instancesOf(r) != "[aaaaaaaa bbbbbbbb]" || r.Endpoints[0].App != orders {
		t.Errorf("all = %+v", r)
	}
	one.do("withdraw")
	asker.until("ask orders", found("bbbbbbbb"))
}

func TestOneProcessAnswersForAllOfAFolder(t *testing.T) {
	t.Parallel()
	ns, base := namespace(t), t.TempDir()
	var want []string
	var nodes []*process
	for i := range 10 {
		id := fmt.Sprintf("aaaaaaa%d", i)
		want = append(want, id)
		nodes = append(nodes, node(t, ns, nodeConfig{Base: base, App: orders, Instance: id, Mesh: fmt.Sprintf("127.0.0.1:%d", 4000+i)}))
	}
	asker := node(t, ns, nodeConfig{})
	asker.until("ask orders", found(want...))
	nodes[7].kill()
	// What it has said itself may be heard only now; it is not answered for.
	asker.until("ask orders", found(slices.Delete(want, 7, 8)...))
}

func TestSomebodyAnswersWhenTheResponderIsKilledOrStopped(t *testing.T) {
	t.Parallel()
	ns, base := namespace(t), t.TempDir()
	var nodes []*process
	for i := range 4 {
		nodes = append(nodes, node(t, ns, nodeConfig{Base: base, App: orders, Instance: fmt.Sprintf("aaaaaaa%d", i), Mesh: fmt.Sprintf("127.0.0.1:%d", 4000+i)}))
	}
	asker := node(t, ns, nodeConfig{})
	asker.until("ask orders", found("aaaaaaa0", "aaaaaaa1", "aaaaaaa2", "aaaaaaa3"))
	// The first two hold the slots. One killed and one stopped: the third
	// takes over what became free.
	nodes[0].kill()
	asker.until("ask orders", found("aaaaaaa1", "aaaaaaa2", "aaaaaaa3"))
	if err := nodes[1].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	asker.until("ask orders", found("aaaaaaa1", "aaaaaaa2", "aaaaaaa3"))
}

func TestTrustDomainsNeverCross(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	node(t, ns, nodeConfig{Base: t.TempDir(), App: orders, Instance: "aaaaaaaa", Mesh: "127.0.0.1:4001"})
	node(t, ns, nodeConfig{Base: t.TempDir(), App: orders, Instance: "bbbbbbbb", Mesh: "127.0.0.1:4002", Secret: "another trust domain's key"})
	ours, theirs := node(t, ns, nodeConfig{}), node(t, ns, nodeConfig{Secret: "another trust domain's key"})
	ours.until("find orders", found("aaaaaaaa"))
	theirs.until("find orders", found("bbbbbbbb"))
	for range 5 {
		if r := ours.until("ask orders", answered); instancesOf(r) != "[aaaaaaaa]" {
			t.Fatalf("we found %s", instancesOf(r))
		}
	}
	ours.do("ask nobody")
	if r := ours.do("all"); strings.Contains(instancesOf(r), "bbbbbbbb") {
		t.Errorf("we heard of %s", instancesOf(r))
	}
}

func TestAStateTravels(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	app := node(t, ns, nodeConfig{App: orders, Instance: "aaaaaaaa", Mesh: "127.0.0.1:4001"})
	asker := node(t, ns, nodeConfig{})
	asker.until("ask orders", found("aaaaaaaa"))
	app.do("state starting")
	asker.until("ask orders", func(r reply) bool {
		return len(r.Endpoints) == 1 && r.Endpoints[0].State == discovery.Starting
	})
	app.do("state ready")
	// What is said of a passing state is soon forgotten.
	asker.until("find orders", func(r reply) bool {
		return len(r.Endpoints) == 1 && r.Endpoints[0].State == discovery.Ready
	})
}

// A listener of its own hears announcements and goodbyes without asking.
func TestTheResponderHearsOthersComeAndGo(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	listener := node(t, ns, nodeConfig{App: "other", Instance: "cccccccc", Mesh: "127.0.0.1:4009"})
	// It listens once it answers.
	node(t, ns, nodeConfig{}).until("ask other", found("cccccccc"))
	app := node(t, ns, nodeConfig{App: orders, Instance: "aaaaaaaa", Mesh: "127.0.0.1:4001"})
	listener.until("lookup orders", found("aaaaaaaa"))
	app.do("withdraw")
	listener.until("lookup orders", found())
	app.quit()
}

func TestWithThePortTakenThereIsOneWarning(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	holder := start(t, ns, "occupy")
	app := node(t, ns, nodeConfig{App: orders, Instance: "aaaaaaaa", Mesh: "127.0.0.1:4001"})
	r := app.until("all", func(r reply) bool { return r.Problem != "" })
	if !strings.Contains(r.Problem, "5353") {
		t.Errorf("the problem is %q", r.Problem)
	}
	if r := app.do("find nobody"); r.Err != "" || r.Took > patience {
		t.Errorf("asking with the port taken: %+v", r)
	}
	holder.kill()
	r = app.until("all", func(r reply) bool { return r.Problem == "" })
	if r.Warnings != 1 {
		t.Errorf("%d warnings, want 1", r.Warnings)
	}
	node(t, ns, nodeConfig{}).until("find orders", found("aaaaaaaa"))
}

// Anybody on the machine may send; nothing they send is believed, and it does
// no harm.
func TestForgedAndBrokenPacketsAreIgnored(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	app := node(t, ns, nodeConfig{App: orders, Instance: "aaaaaaaa", Mesh: "127.0.0.1:4001"})
	asker := node(t, ns, nodeConfig{App: "asker", Instance: "bbbbbbbb", Mesh: "127.0.0.1:4002"})
	asker.until("ask orders", found("aaaaaaaa"))
	txt := func(ttl uint32, instance string, text ...string) []byte {
		m := dns.Msg{Answer: []dns.RR{&dns.TXT{
			Hdr: dns.RR_Header{Name: instance + "._pillion._tcp.local.", Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: ttl},
			Txt: text,
		}}}
		m.Response = true
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	for name, packet := range map[string][]byte{
		"a record without a MAC":  txt(60, "zzzzzzzz", "v=1", "a=127.0.0.1:9", "st=ready"),
		"a record with a bad MAC": txt(60, "zzzzzzzz", "v=1", "a=127.0.0.1:9", "st=ready", "m=AAAAAAAAAAAAAAAAAAAAAA"),
		"a forged goodbye":        txt(0, "aaaaaaaa", "v=1", "st=gone", "m=AAAAAAAAAAAAAAAAAAAAAA"),
		"no DNS":                  []byte("hello"),
		"a cut header":            {0, 0, 0x84},
	} {
		sender := start(t, ns, "send lo "+base64.StdEncoding.EncodeToString(packet))
		if _, err := fmt.Fprintln(sender.in, "send"); err != nil {
			t.Fatal(err)
		}
		sender.line()
		if r := asker.do("lookup orders"); instancesOf(r) != "[aaaaaaaa]" {
			t.Errorf("after %s: %s, want orders as before", name, instancesOf(r))
		}
		if r := asker.do("all"); strings.Contains(instancesOf(r), "zzzzzzzz") {
			t.Errorf("%s is believed", name)
		}
	}
	app.do("withdraw")
	asker.until("lookup orders", found())
}

func TestHostScopeIsSilentAndDeafOnTheNetwork(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	wire := start(t, b, "capture eth0 bbbbbbbb")
	app := node(t, a, nodeConfig{Base: t.TempDir(), App: orders, Instance: "aaaaaaaa", Mesh: "127.0.0.1:4001"})
	// Another program of the machine takes part in the group on the network:
	// that must not let its packets in.
	lan := node(t, a, nodeConfig{App: "lan", Instance: "bbbbbbbb", Mesh: "0.0.0.0:4002", LAN: true, Secret: "another trust domain's key"})
	lan.do("all")
	lan.quit()
	count := func() (lans, others int) {
		t.Helper()
		if _, err := fmt.Fprintln(wire.in, "count"); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(wire.line(), &lans, &others); err != nil {
			t.Fatal(err)
		}
		return lans, others
	}
	within.Until(t, "the capture to see a LAN-scoped instance", func() bool {
		lans, _ := count()
		return lans > 0
	})

	asker := node(t, a, nodeConfig{})
	asker.until("find orders", found("aaaaaaaa"))
	app.do("state starting")
	asker.do("ask nobody")
	app.do("withdraw")
	app.do("state ready")
	if _, ours := count(); ours != 0 {
		t.Errorf("%d packets of ours on the network, want none", ours)
	}
	// The neighbour asks in LAN scope, with the same key.
	neighbour := node(t, b, nodeConfig{LAN: true})
	for range 3 {
		if r := neighbour.do("ask orders"); len(r.Endpoints) != 0 {
			t.Fatalf("the neighbour found %+v", r.Endpoints)
		}
	}
	// Nor does it get an answer to a question that would be right on a.
	label := discovery.Label(discovery.DeriveKey([]byte(secret), mdns.MachineID()), discovery.Key{Namespace: "default", App: orders})
	question := dns.Msg{Question: []dns.Question{{Name: label + "._sub._pillion._tcp.local.", Qtype: dns.TypePTR, Qclass: dns.ClassINET | 1<<15}}}
	packet, err := question.Pack()
	if err != nil {
		t.Fatal(err)
	}
	for ns, want := range map[string]string{b: "0", a: "1"} {
		dev, word := "eth0", "send"
		if ns == a {
			dev, word = "lo", "ask" // the question itself is a good one
		}
		sender := start(t, ns, "send "+dev+" "+base64.StdEncoding.EncodeToString(packet))
		if _, err := fmt.Fprintln(sender.in, word); err != nil {
			t.Fatal(err)
		}
		if got := sender.line(); got != want {
			t.Errorf("a question on %s of %s has %s answers, want %s", dev, ns, got, want)
		}
	}
}
