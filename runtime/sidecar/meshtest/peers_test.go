package meshtest_test

import "testing"

// A peer may be given as an address: with its app ID, or without it, when it
// is known by its certificate.
func TestPeersMayBeGivenAsAddresses(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.app("orders", "--discovery", "static") // neither in multicast nor asked for there
	at := m.instances("orders")[0].MeshAddresses[0]
	other := m.beside() // whose runtime folder does not show it
	for _, peer := range []string{"orders=" + at, at} {
		_, report := other.invoke("orders", "a", "--discovery", "static", "--peer", peer)
		says(t, report, "found by static", at, "/ns/default/orders")
		_, door := other.caller("web", "--discovery", "static", "--peer", peer)
		if r := door.get("/v1.0/invoke/orders/method/a"); !r.ok() {
			t.Errorf("--peer %s, through the door: %v", peer, r)
		}
		if r := door.get("/v1.0/invoke/invoices/method/a"); r.ok() {
			t.Errorf("--peer %s answers to another name: %v", peer, r)
		}
	}
	// A name that is not the peer's is not believed.
	before := len(m.recorded())
	if r := other.pillion("invoke", "invoices", "a", "--discovery", "static", "--peer", "invoices="+at); r.status == 0 {
		t.Errorf("a peer was taken for what it is not: %v", r)
	}
	if after := len(m.recorded()); after != before {
		t.Error("the app got a call that was for another")
	}
}
