package porttest_test

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/pillion-dev/pillion/internal/porttest"
)

// refused checks that nobody answers on p.
func refused(t *testing.T, p *porttest.Port) {
	t.Helper()
	for _, host := range []string{"127.0.0.1", "::1"} {
		c, err := net.Dial("tcp", net.JoinHostPort(host, p.String()))
		if err == nil {
			_ = c.Close()
			t.Fatalf("somebody listens on %s at %s", p, host)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Fatal(err)
		}
	}
}

func TestAPortRefusesUntilSomebodyListens(t *testing.T) {
	t.Parallel()
	p := porttest.Reserve(t)
	for range 3 {
		refused(t, p)
		ln := p.Listen(t)
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		_ = ln.Close()
	}
	refused(t, p)
	for _, everywhere := range []string{":", "0.0.0.0:", "[::1]:"} {
		ln, err := net.Listen("tcp", everywhere+p.String())
		if err != nil && strings.HasPrefix(everywhere, "[") && errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue // no IPv6 here
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = ln.Close()
	}
}

// Asked for any port out of the reserved one alone, the system has none.
func TestTheSystemGivesAReservedPortToNobody(t *testing.T) {
	t.Parallel()
	p, err := porttest.Take()
	if err != nil {
		t.Fatal(err)
	}
	const localPortRange = 51 // IP_LOCAL_PORT_RANGE, since Linux 6.3
	only := int(p.Number())<<16 | int(p.Number())
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, localPortRange, only)
		})
		return errors.Join(err, set)
	}}
	for _, host := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		ln, err := lc.Listen(t.Context(), "tcp", host)
		switch {
		case err == nil:
			_ = ln.Close()
			t.Errorf("the reserved port %s was given to a listener on %s", p, ln.Addr())
		case errors.Is(err, syscall.ENOPROTOOPT), errors.Is(err, syscall.EADDRNOTAVAIL):
			t.Logf("not to be asked here: %v", err)
		case !errors.Is(err, syscall.EADDRINUSE):
			t.Error(err)
		}
	}
	d := net.Dialer{Control: lc.Control}
	listener := porttest.Reserve(t).Listen(t)
	if c, err := d.DialContext(t.Context(), "tcp", listener.Addr().String()); err == nil {
		_ = c.Close()
		if c.LocalAddr().(*net.TCPAddr).Port == int(p.Number()) {
			t.Errorf("the reserved port %s was given to a client", p)
		}
	}
	// The question was the right one: of a port that is released it has one.
	p.Release()
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	switch {
	case err == nil:
		_ = ln.Close()
	case !errors.Is(err, syscall.ENOPROTOOPT):
		t.Errorf("a released port: %v", err)
	}
}
