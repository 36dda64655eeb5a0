package meshtest_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestMachinesOnOneCableFindEachOther(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	b.app("orders", "--lan")
	_, report := a.reach("orders", "a", "--lan")
	says(t, report, "found by mdns", addrB+":", "/ns/default/orders")
	_, door := a.caller("web", "--lan")
	if r := door.reach("/v1.0/invoke/orders/method/a"); r.echo().Headers.Get("Dapr-Caller-App-Id") != "web" {
		t.Errorf("through the door: %v", r)
	}
}

// A default route into an interface that swallows everything, as a VPN's may.
func TestTheDefaultRouteMayLeadElsewhere(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	for _, m := range []*machine{a, b} {
		ip(t, m.netns, "link add vpn0 type veth peer name end netns "+namespace(t))
		ip(t, m.netns, "link set vpn0 up")
		ip(t, m.netns, "addr add 10.77.0.1/32 dev vpn0")
		ip(t, m.netns, "route add default dev vpn0")
	}
	b.app("orders", "--lan")
	_, report := a.reach("orders", "a", "--lan")
	says(t, report, "found by mdns", addrB+":")
}

// The peer's address changes while it is called. What cannot have reached it
// moves on to the new address; nothing is done twice.
func TestCallsFollowAPeerToItsNewAddress(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	b.app("orders", "--lan")
	_, door := a.caller("web", "--lan")
	if r := door.reach("/v1.0/invoke/orders/method/a"); !r.ok() {
		t.Fatalf("before: %v", r)
	}
	var calls sync.WaitGroup
	stop := make(chan struct{})
	for w := range 4 {
		calls.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					door.call("POST", "/v1.0/invoke/orders/method/a", fmt.Sprintf("%d-%d", w, n), strings.NewReader("x"))
				}
			}
		})
	}
	until(t, "calls are made", func() bool { return len(b.recorded()) > 20 })
	ip(t, b.netns, "addr del "+addrB+"/24 dev eth0")
	ip(t, b.netns, "addr add 10.9.0.77/24 dev eth0")
	before := len(b.recorded())
	until(t, "calls arrive at the new address", func() bool { return len(b.recorded()) > before+20 })
	close(stop)
	calls.Wait()
	for id, names := range b.recorded() {
		if len(names) > 1 {
			t.Errorf("call %s was done %d times", id, len(names))
		}
	}
	_, report := a.reach("orders", "a", "--lan")
	says(t, report, "10.9.0.77:")
}

// Without --lan nothing leaves the machine, and nothing answers on its cable.
func TestWithoutTheFlagNothingLeavesTheMachine(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	seen := capture(t, b.netns, "eth0", "host "+addrA+" and not arp")
	a.app("orders")
	_, door := a.caller("web")
	if r := door.get("/v1.0/invoke/orders/method/a"); !r.ok() {
		t.Errorf("through the door: %v", r)
	}
	if r := door.get("/v1.0/invoke/nobody/method/a"); r.ok() {
		t.Errorf("an app that is not there answered: %v", r)
	}
	a.invoke("orders", "a")
	if r := a.pillion("invoke", "nobody", "a"); r.status != 70 {
		t.Errorf("an app that is not there: %v", r)
	}
	if data := seen.end(addrA); len(data) != 0 {
		t.Errorf("%d bytes of packets left the machine", len(data))
	}
	for _, port := range openPorts(t, b, addrA) {
		t.Errorf("port %d of %s is open", port, addrA)
	}
	// The same eyes see what there is to see.
	seen = capture(t, b.netns, "eth0", "host "+addrA+" and udp port 5353")
	a.app("invoices", "--lan")
	until(t, "something is seen of an app that is announced", func() bool { data, _ := seen.seen(); return len(data) > 0 })
	if len(openPorts(t, b, addrA)) == 0 {
		t.Error("the mesh port of an app that is announced was not found open")
	}
}

// openPorts are the TCP ports of an address that take connections.
func openPorts(t *testing.T, from *machine, addr string) []int {
	t.Helper()
	const atOnce = 16
	var mu sync.Mutex
	var open []int
	var workers sync.WaitGroup
	for w := range atOnce {
		workers.Go(func() {
			err := inside(from.netns, func() error {
				for port := 1 + w; port < 1<<16; port += atOnce {
					conn, err := net.Dial("tcp", net.JoinHostPort(addr, strconv.Itoa(port)))
					if err != nil {
						continue // closed
					}
					_ = conn.Close() // it was only knocked at
					mu.Lock()
					open = append(open, port)
					mu.Unlock()
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	workers.Wait()
	return open
}
