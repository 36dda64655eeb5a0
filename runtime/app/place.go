package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pillion-dev/pillion/internal/rawsock"
)

// The protocols an app may speak.
const (
	protoHTTP  = "http"
	protoHTTPS = "https"
	protoH2C   = "h2c"
	protoGRPC  = "grpc"
	protoGRPCS = "grpcs"
)

// dialTimeout bounds one attempt to connect to the app: it is on this machine,
// or beside it.
const dialTimeout = 5 * time.Second

// A closedError says that nothing listens where the app should, or not any
// longer. Not a byte of the call was written.
type closedError struct {
	spot *spot
	err  error
}

func (e *closedError) Error() string { return e.err.Error() }
func (e *closedError) Unwrap() error { return e.err }

// A spot is where the app listens, as far as we know. It is never changed.
type spot struct {
	hosts []string
	port  uint16
	// http2 is true if a port that was found answers HTTP/2 only.
	http2 bool
}

// place dials the app where it is now.
type place struct {
	protocol string
	address  string
	current  atomic.Pointer[spot]
	// choice is what the app chose when TLS let it choose.
	choseHTTP2 atomic.Bool
	// first is the host that answered last.
	first atomic.Int32
}

func newPlace(cfg Config) *place {
	p := &place{protocol: cfg.Protocol, address: cfg.Address}
	p.move(cfg.Port, nil, false)
	return p
}

func (p *place) spot() *spot  { return p.current.Load() }
func (p *place) port() uint16 { return p.spot().port }

// move says that the app listens on port, bound to the addresses given. It
// returns where the app is now.
func (p *place) move(port uint16, bound []netip.Addr, http2 bool) *spot {
	next := &spot{port: port, http2: http2}
	if p.address != "" {
		next.hosts = []string{p.address}
	} else {
		next.hosts = hostsOf(bound)
	}
	p.first.Store(0)
	p.current.Store(next)
	return next
}

// hostsOf are the addresses to try for a socket bound so: the one it is bound
// to if that is a certain one, then the loopback of each family.
func hostsOf(bound []netip.Addr) []string {
	hosts := make([]string, 0, len(bound)+2)
	for _, addr := range bound {
		if addr = addr.Unmap(); !addr.IsUnspecified() && !addr.IsLoopback() {
			hosts = append(hosts, addr.String())
		}
	}
	for _, addr := range bound {
		if addr = addr.Unmap(); addr.IsLoopback() && addr.Is4() && addr != loopback4 {
			hosts = append(hosts, addr.String())
		}
	}
	return append(hosts, loopback4.String(), netip.IPv6Loopback().String())
}

var loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func (p *place) secure() bool { return p.protocol == protoHTTPS || p.protocol == protoGRPCS }

// speaksHTTP2 reports whether calls go over HTTP/2.
func (p *place) speaksHTTP2() bool {
	switch p.protocol {
	case protoH2C, protoGRPC, protoGRPCS:
		return true
	case protoHTTPS:
		return p.choseHTTP2.Load()
	default:
		return p.spot().http2
	}
}

// protocols are what we offer in TLS.
func (p *place) protocols() []string {
	if p.protocol == protoGRPCS {
		return []string{"h2"}
	}
	return []string{"h2", "http/1.1"}
}

// dial connects to the app, trying its addresses with the one that answered
// last first. It returns the connection and the app's own address, which is
// the Host of every call. If all refuse, the error is a *closedError.
func (p *place) dial(ctx context.Context) (net.Conn, string, error) {
	at := p.spot()
	first := int(p.first.Load())
	var refused, other bool
	var failed error
	for i := range at.hosts {
		n := (first + i) % len(at.hosts)
		c, host, err := p.dialHost(ctx, at, at.hosts[n])
		if err == nil {
			if n != first {
				p.first.Store(int32(n)) //nolint:gosec // a handful of hosts
			}
			return c, host, nil
		}
		switch {
		case errors.Is(err, errRefused):
			refused = true
		case !isMissing(err):
			other = true
		}
		if failed == nil || isMissing(failed) {
			failed = err
		}
	}
	if refused && !other {
		return nil, "", &closedError{spot: at, err: failed}
	}
	return nil, "", &dialError{err: failed}
}

// isMissing reports whether err says that this machine has no such address, or
// not even its family: a loopback without IPv6.
func isMissing(err error) bool {
	return errors.Is(err, errNoAddress) || errors.Is(err, errNoFamily)
}

// A dialError says that the app's port did not take a connection although it
// may be open.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func (p *place) dialHost(ctx context.Context, at *spot, host string) (net.Conn, string, error) {
	if at.port == 0 {
		return nil, "", fmt.Errorf("no port: %w", errRefused)
	}
	authority := net.JoinHostPort(host, strconv.Itoa(int(at.port)))
	c, err := connect(ctx, authority)
	if errors.Is(err, errReset) {
		err = fmt.Errorf("%w: %w", errRefused, err) // it waited to be accepted when the port was closed
	}
	if err != nil {
		return nil, authority, err
	}
	c = rawsock.Wrap(c)
	if !p.secure() {
		return c, authority, nil
	}
	secured := tls.Client(c, p.tlsConfig(c, host))
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = c.Close() // already reporting the first error
		return nil, "", fmt.Errorf("TLS with %s: %w", authority, err)
	}
	return secured, authority, nil
}

// connect makes a connection. An app may let only a handful wait to be accepted,
// Python's http.server five; whoever comes when those are there is not answered,
// and the system asks again after a second. On the loopback we ask again
// ourselves, after firstDial and then ever later: of calls in a burst, as those
// that have waited for the app, all others wait behind the one that waits.
func connect(ctx context.Context, authority string) (net.Conn, error) {
	addr, err := netip.ParseAddrPort(authority)
	near := err == nil && addr.Addr().IsLoopback()
	left := dialTimeout
	for patience := firstDial; near && patience < left; patience *= 2 {
		c, err := connectWithin(ctx, authority, patience)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
		left -= patience
	}
	return connectWithin(ctx, authority, left)
}

// connectWithin asks once; that there was no answer is os.ErrDeadlineExceeded.
// What counts is whether the system has one by then, not whether we have heard
// it: that may take longer on a machine with too much to do, and a connection
// given up for it is one more in the queue of an app that has no time either.
func connectWithin(ctx context.Context, authority string, patience time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var asked atomic.Pointer[syscall.RawConn]
	timer := time.AfterFunc(patience, func() {
		if socket := asked.Load(); socket == nil || !isAnswered(*socket) {
			cancel(os.ErrDeadlineExceeded)
		}
	})
	defer timer.Stop()
	d := net.Dialer{Control: func(_, _ string, socket syscall.RawConn) error {
		asked.Store(&socket)
		return nil
	}}
	c, err := d.DialContext(ctx, "tcp", authority)
	if err != nil && errors.Is(context.Cause(ctx), os.ErrDeadlineExceeded) {
		return nil, fmt.Errorf("dial %s: %w", authority, os.ErrDeadlineExceeded)
	}
	return c, err
}

// tlsConfig verifies the app's certificate unless the connection stays on this
// machine: what listens on its loopback is the app by definition, and its
// certificate is most often a self-made one.
func (p *place) tlsConfig(c net.Conn, host string) *tls.Config {
	peer, ok := c.RemoteAddr().(*net.TCPAddr)
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: host,
		NextProtos: p.protocols(),
		//nolint:gosec // only on the loopback, see above
		InsecureSkipVerify: ok && peer.IP.IsLoopback(),
	}
}

// choseH2 reports whether a connection's TLS handshake settled on HTTP/2.
func choseH2(c net.Conn) bool {
	secured, ok := c.(*tls.Conn)
	return ok && secured.ConnectionState().NegotiatedProtocol == "h2"
}
