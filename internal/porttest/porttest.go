// Package porttest keeps ports for tests of what listens later, listens again,
// or never listens. A test that closes a listener to have its port free gives
// that port to whoever asks next, which is another test: its calls are then
// answered by a stranger.
package porttest

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// A Port is a port of the loopback that refuses connections until somebody
// listens on it on purpose, in this process or another, by its number. On Linux
// the system gives it to nobody else until it is released, over IPv4 or IPv6,
// however often listeners on it come and go. Elsewhere no system can do that:
// the port was free, and that is all.
type Port struct {
	number  uint16
	release func()
}

// Reserve keeps a port until the test ends.
func Reserve(t testing.TB) *Port {
	t.Helper()
	p, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p
}

// Take keeps a port until it is released.
func Take() (*Port, error) {
	number, release, err := keep()
	if err != nil {
		return nil, fmt.Errorf("keep a port for a test: %w", err)
	}
	return &Port{number: number, release: sync.OnceFunc(release)}, nil
}

// Release gives the port back to the system. Again, it does nothing.
func (p *Port) Release() { p.release() }

// Number is the port.
func (p *Port) Number() uint16 { return p.number }

// String is the port's number as an argument.
func (p *Port) String() string { return strconv.Itoa(int(p.number)) }

// Addr is the port's address over IPv4, to listen on or to dial.
func (p *Port) Addr() string { return net.JoinHostPort("127.0.0.1", p.String()) }

// patience bounds the wait of Listen.
const patience = 30 * time.Second

// Listen opens the port over IPv4. It may be called again once the listener
// that it returned is closed; the test's end closes it too. A process that is
// being started in the same moment may hold a closed listener for a little
// longer, which is waited for.
func (p *Port) Listen(t testing.TB) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	for began := time.Now(); ; time.Sleep(time.Millisecond) { // between looks at a condition
		ln, err := lc.Listen(t.Context(), "tcp", p.Addr())
		if err == nil {
			t.Cleanup(func() { _ = ln.Close() })
			return ln
		}
		if time.Since(began) > patience {
			t.Fatalf("listen on a port that is kept for this test: %v", err)
		}
	}
}
