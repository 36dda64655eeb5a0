package meshtest_test

import (
	"bytes"
	"context"
	endian "encoding/binary" // binary is pillion here
	"net"
	"os"
	"path/filepath"
	"testing"
)

// The sizes of the heads of a capture's file and of each packet in it.
const (
	pcapHead   = 24
	packetHead = 16
)

// The packet that ends a capture: to a port where nobody listens.
const (
	lastPort = "9"
	lastWord = "that was all"
)

// A captured is what crosses an interface.
type captured struct {
	t    *testing.T
	ns   string
	p    *process
	file string
}

// capture records what crosses an interface.
func capture(t *testing.T, ns, ifi, filter string) *captured {
	t.Helper()
	file := filepath.Join(t.TempDir(), "capture")
	m := &machine{t: t, netns: ns, dir: t.TempDir()}
	p := start(t, m.command(context.WithoutCancel(t.Context()), nil,
		"tcpdump", "-i", ifi, "-n", "-U", "--immediate-mode", "-s", "0", "-B", "16384", "-Z", "root", "-w", file,
		"("+filter+") or udp dst port "+lastPort))
	p.await("listening on " + ifi)
	return &captured{t, ns, p, file}
}

// end ends the capture and is all that was seen. A packet from the namespace to
// an address says when: what crossed before it has been written down before.
func (c *captured) end(to string) []byte {
	c.t.Helper()
	err := inside(c.ns, func() error {
		conn, err := net.Dial("udp", net.JoinHostPort(to, lastPort))
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // it has been written to
		_, err = conn.Write([]byte(lastWord))
		return err
	})
	if err != nil {
		c.t.Fatal(err)
	}
	var all []byte
	until(c.t, "the capture is complete", func() bool {
		var complete bool
		all, complete = c.seen()
		return complete
	})
	c.p.stop()
	return all
}

// seen are the packets written down so far, and whether the last one is there,
// which is not of them.
func (c *captured) seen() (packets []byte, complete bool) {
	c.t.Helper()
	data, err := os.ReadFile(c.file)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(data) < pcapHead {
		return nil, false
	}
	rest := data[pcapHead:]
	for len(rest) >= packetHead {
		n := packetHead + int(endian.NativeEndian.Uint32(rest[8:]))
		if len(rest) < n {
			break // it is being written
		}
		if bytes.Contains(rest[:n], []byte(lastWord)) {
			return packets, true
		}
		packets, rest = append(packets, rest[packetHead:n]...), rest[n:]
	}
	return packets, false
}
