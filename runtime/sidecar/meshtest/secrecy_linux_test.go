package meshtest_test

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

// Between two sidecars there is nothing to read: the bytes of a body are in
// the capture of a door, and not in that of the mesh.
func TestABodyIsNotReadableBetweenSidecars(t *testing.T) {
	t.Parallel()
	const mark = "the striped horse of the savannah"
	m := alone(t)
	m.app("orders")
	at := m.instances("orders")[0].MeshAddresses[0]
	// On one machine calls cross a Unix socket, which nobody can capture: a
	// caller that was told the address takes the port.
	_, door := m.caller("web", "--discovery", "static", "--peer", "orders="+at)
	_, mesh, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	_, front, err := net.SplitHostPort(strings.TrimPrefix(door.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	between := capture(t, m.netns, "lo", "tcp port "+mesh)
	before := capture(t, m.netns, "lo", "tcp port "+front)
	r := door.call("POST", "/v1.0/invoke/orders/method/"+strings.ReplaceAll(mark, " ", "-"), "1", strings.NewReader(strings.Repeat(mark, 100)))
	if len(r.echo().Body) != 100*len(mark) {
		t.Fatalf("the call: %v", r)
	}
	if seen := before.end("127.0.0.1"); !bytes.Contains(seen, []byte(mark)) {
		t.Errorf("the capture of the door, %d bytes, does not show the body", len(seen))
	}
	seen := between.end("127.0.0.1")
	if len(seen) < 200*len(mark) {
		t.Errorf("the capture of the mesh has %d bytes only", len(seen))
	}
	for _, word := range []string{mark[:8], "striped", "savannah", "orders", "application/json", "X-Id"} {
		if bytes.Contains(seen, []byte(word)) {
			t.Errorf("the capture of the mesh shows %q", word)
		}
	}
}
