package mtls_test

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/pillion-dev/pillion/tls/ca"
)

// A link carries many calls from its first byte: its records must not begin
// small, as those of a connection to a browser do.
func TestRecordsAreFullFromTheFirst(t *testing.T) {
	t.Parallel()
	c := newCA(t, ca.Options{})
	caller, callee := workload(t, c, "todo-api", nil), workload(t, c, "notification-service", nil)
	a, b := net.Pipe()
	theirs, ours := &writesCounted{Conn: a}, &writesCounted{Conn: b}
	s, k := tls.Server(theirs, server(callee)), tls.Client(ours, caller.Client(callee.ID(), label, proto))
	t.Cleanup(func() { _, _ = theirs.Close(), ours.Close() })
	const size, full = 64 << 10, 4
	send := func(from *tls.Conn, counted *writesCounted, to *tls.Conn) {
		t.Helper()
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(to, make([]byte, size+1))
			read <- err
		}()
		if _, err := from.Write([]byte{0}); err != nil { // the handshake
			t.Fatal(err)
		}
		before := counted.n.Load()
		if _, err := from.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if err := <-read; err != nil {
			t.Fatal(err)
		}
		if n := counted.n.Load() - before; n > full {
			t.Errorf("%d records for what fits %d", n, full)
		}
	}
	send(k, ours, s)
	send(s, theirs, k)
}

// A writesCounted connection counts what TLS writes: each time a record.
type writesCounted struct {
	net.Conn
	n atomic.Int64
}

func (c *writesCounted) Write(p []byte) (int, error) {
	c.n.Add(1)
	return c.Conn.Write(p)
}
