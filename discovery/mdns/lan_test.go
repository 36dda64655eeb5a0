//go:build linux

package mdns_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestTwoMachinesOfOneTrustDomainMeet(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	app := node(t, a, nodeConfig{Base: t.TempDir(), App: orders, Instance: "aaaaaaaa", Mesh: "0.0.0.0:4001", LAN: true})
	asker := node(t, b, nodeConfig{Base: t.TempDir(), App: "asker", Instance: "bbbbbbbb", Mesh: "0.0.0.0:4002", LAN: true})
	r := asker.until("ask orders", found("aaaaaaaa"))
	want := netip.MustParseAddrPort("10.9.0.1:4001")
	if e := r.Endpoints[0]; e.Local || len(e.Addrs) == 0 || e.Addrs[0] != want {
		t.Errorf("found %+v, want %v of another machine first", e, want)
	}
	app.until("ask asker", found("bbbbbbbb"))
	if r := asker.do("find nobody"); len(r.Endpoints) != 0 || r.Took > patience {
		t.Errorf("nobody: %+v", r)
	}
	// Listeners hear others come and go without asking.
	third := node(t, a, nodeConfig{App: "third", Instance: "cccccccc", Mesh: "0.0.0.0:4003", LAN: true})
	asker.until("lookup third", found("cccccccc"))
	third.do("withdraw")
	asker.until("lookup third", found())
	stranger := node(t, b, nodeConfig{LAN: true, Secret: "another trust domain's key"})
	if r := stranger.do("ask orders"); len(r.Endpoints) != 0 {
		t.Errorf("another trust domain found %+v", r.Endpoints)
	}
}

// Of two instances in one machine, only the one that may be seen is.
func TestAnInstanceOfHostScopeIsNotAnsweredForOnTheLAN(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	base := t.TempDir()
	node(t, a, nodeConfig{Base: base, App: orders, Instance: "aaaaaaaa", Mesh: "0.0.0.0:4001", LAN: true})
	node(t, a, nodeConfig{Base: base, App: orders, Instance: "bbbbbbbb", Mesh: "127.0.0.1:4002"})
	asker := node(t, b, nodeConfig{LAN: true})
	asker.until("ask orders", found("aaaaaaaa"))
	near := node(t, a, nodeConfig{LAN: true})
	r := near.until("ask orders", found("aaaaaaaa", "bbbbbbbb"))
	for _, e := range r.Endpoints {
		if !e.Local || !e.Addrs[0].Addr().IsLoopback() {
			t.Errorf("on its own machine %s is found at %v, want loopback first", e.Instance, e.Addrs)
		}
	}
}

func TestTheLANWorksBesideAVPN(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	for _, ns := range []string{a, b} {
		in(t, ns, "link add vpn0 type veth peer name far0")
		in(t, ns, "link set far0 up")
		in(t, ns, "link set vpn0 up")
		in(t, ns, "addr add 172.31.0.1/24 dev vpn0")
		in(t, ns, "route add 0.0.0.0/1 dev vpn0")
		in(t, ns, "route add 128.0.0.0/1 dev vpn0")
	}
	node(t, a, nodeConfig{App: orders, Instance: "aaaaaaaa", Mesh: "0.0.0.0:4001", LAN: true})
	asker := node(t, b, nodeConfig{LAN: true})
	r := asker.until("ask orders", found("aaaaaaaa"))
	if !strings.Contains(fmt.Sprint(r.Endpoints[0].Addrs), "10.9.0.1:4001") {
		t.Errorf("found at %v, want the LAN's address among them", r.Endpoints[0].Addrs)
	}
}

func TestAnAddressThatChangesIsToldAnew(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	node(t, a, nodeConfig{Base: t.TempDir(), App: orders, Instance: "aaaaaaaa", Mesh: "0.0.0.0:4001", LAN: true})
	asker := node(t, b, nodeConfig{App: "asker", Instance: "bbbbbbbb", Mesh: "0.0.0.0:4002", LAN: true})
	asker.until("ask orders", found("aaaaaaaa"))
	in(t, a, "addr del 10.9.0.1/24 dev eth0")
	in(t, a, "addr add 10.9.0.77/24 dev eth0")
	// Without asking: the announcement is heard.
	asker.until("lookup orders", func(r reply) bool {
		return len(r.Endpoints) == 1 && r.Endpoints[0].Addrs[0] == netip.MustParseAddrPort("10.9.0.77:4001")
	})
}

func TestAnInterfaceThatComesLateOrAgainIsJoined(t *testing.T) {
	t.Parallel()
	a, b := namespace(t), namespace(t)
	node(t, a, nodeConfig{Base: t.TempDir(), App: orders, Instance: "aaaaaaaa", Mesh: "0.0.0.0:4001", LAN: true})
	asker := node(t, b, nodeConfig{LAN: true})
	if r := asker.do("ask orders"); len(r.Endpoints) != 0 {
		t.Fatalf("found without a network: %+v", r.Endpoints)
	}
	for round := range 2 {
		in(t, a, "link add eth0 type veth peer name eth0 netns "+b)
		for ns, addr := range map[string]string{a: "10.9.0.1/24", b: "10.9.0.2/24"} {
			in(t, ns, "link set eth0 up")
			in(t, ns, "addr add "+addr+" dev eth0")
		}
		asker.until("ask orders", found("aaaaaaaa"))
		if round == 0 {
			in(t, a, "link del eth0")
			asker.until("ask orders", found())
		}
	}
}

func TestOnTheLANTooOneProcessAnswersForAll(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	base := t.TempDir()
	var want []string
	var nodes []*process
	for i := range 5 {
		id := fmt.Sprintf("aaaaaaa%d", i)
		want = append(want, id)
		nodes = append(nodes, node(t, a, nodeConfig{Base: base, App: orders, Instance: id, Mesh: fmt.Sprintf("0.0.0.0:%d", 4000+i), LAN: true}))
	}
	asker := node(t, b, nodeConfig{LAN: true})
	asker.until("ask orders", found(want...))
	nodes[0].kill()
	asker.until("ask orders", found(want[1:]...))
}
