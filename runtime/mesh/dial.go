package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
)

// How long an address has to take a connection: one that is not the last is
// passed over soon.
const (
	loopbackPatience = time.Second
	passingPatience  = 300 * time.Millisecond
	lastPatience     = 1500 * time.Millisecond
)

// A dialing is a link on its way, shared by all calls that wait for it. It
// goes on when they have given up: it is short, and the next call wants it.
type dialing struct {
	done   chan struct{} // closed when what follows is set
	client *client
	err    *apperr.Error
	took   steps
	cancel context.CancelCauseFunc
}

// steps is how long a link took to come.
type steps struct{ connect, handshake time.Duration }

// wait returns the link. Its time counts as the waiting call's.
func (d *dialing) wait(ctx context.Context, app string, timing *invoke.Timing) (*client, error) {
	select {
	case <-d.done:
	case <-ctx.Done():
		return nil, given(ctx, app, invoke.Evidence{NotGreeted: true})
	}
	if timing != nil {
		timing.Connect += d.took.connect
		timing.TLS += d.took.handshake
	}
	if d.err != nil {
		return nil, d.err
	}
	return d.client, nil
}

// dial begins to dial. t.mu is held.
func (t *Transport) dial(ctx context.Context, key peerKey, to discovery.Endpoint) *dialing {
	// The link outlives the call that asked for it first.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	d := &dialing{done: make(chan struct{}), cancel: cancel}
	t.work.Go(func() {
		defer cancel(nil)
		c, fr, err := t.connect(ctx, to, key.want, &d.took)
		if !t.dialled(d, key, c, err) {
			return
		}
		c.run(fr)
		t.ended(key, c)
		c.uploads.Wait()
	})
	return d
}

// dialled publishes what became of d. It reports whether there is a link to
// serve.
func (t *Transport) dialled(d *dialing, key peerKey, c *client, err *apperr.Error) bool {
	t.mu.Lock()
	p := t.peers[key]
	p.dialing = nil
	if err == nil && t.closed {
		_ = c.conn.Close() // nobody waits for it
		err = c.name.unreachable("this sidecar is stopping", errClosing)
	}
	if err == nil {
		c.freed = func() { t.freed(key) }
		p.links = append(p.links, c)
	} else if len(p.links) == 0 && p.freed == nil {
		delete(t.peers, key)
	}
	d.client, d.err = c, err
	t.mu.Unlock()
	close(d.done)
	if err != nil {
		t.log.Debug("no link", "app", key.want.App(), "address", key.addr, "err", err)
		return false
	}
	t.log.Debug("link begun", "app", key.want.App(), "instance", c.greeting.instance, "address", c.name.addr)
	t.state(c.greeting.instance, c.greeting.state)
	return true
}

// ended takes a link off the list.
func (t *Transport) ended(key peerKey, c *client) {
	t.mu.Lock()
	p := t.peers[key]
	p.links = slices.DeleteFunc(p.links, func(l *client) bool { return l == c })
	if len(p.links) == 0 && p.dialing == nil && p.freed == nil {
		delete(t.peers, key)
	}
	t.mu.Unlock()
	t.freed(key)
	t.log.Debug("link ended", "app", key.want.App(), "instance", c.greeting.instance, "address", c.name.addr, "why", c.cause())
}

// connect tries the addresses in order. The error tells of all of them.
func (t *Transport) connect(ctx context.Context, to discovery.Endpoint, want identity.ID, took *steps) (*client, *frameReader, *apperr.Error) {
	var causes []string
	var worst *apperr.Error
	for i, addr := range to.Addrs {
		name := peerName{app: want.App(), addr: addr.String(), instance: to.Instance}
		conn, err := t.open(ctx, addr, i == len(to.Addrs)-1, took)
		if err == nil {
			var c *client
			var fr *frameReader
			if c, fr, err = t.greet(ctx, conn, name, handshake{to.Key, want, took}); err == nil {
				return c, fr, nil
			}
		}
		var known *apperr.Error
		if !errors.As(err, &known) {
			known = name.unreachable(err.Error(), err)
		}
		// Who is not to be trusted is worth more words than who is not there.
		if worst == nil || worst.Reason == apperr.PeerUnreachable {
			worst = known
		}
		causes = append(causes, known.Cause)
		if ctx.Err() != nil {
			break
		}
	}
	if worst.Reason == apperr.PeerUnreachable && len(causes) > 1 {
		all := *worst
		all.Cause = strings.Join(causes, "; ")
		worst = &all
	}
	return nil, nil, worst
}

func (t *Transport) open(ctx context.Context, addr netip.AddrPort, last bool, took *steps) (net.Conn, error) {
	patience := passingPatience
	switch {
	case addr.Addr().IsLoopback():
		patience = loopbackPatience
	case last:
		patience = lastPatience
	}
	dialCtx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	conn, err := t.cfg.Dial(dialCtx, addr.String())
	took.connect += time.Since(began)
	if err != nil {
		return nil, &told{dialling(addr.String(), err, patience), err}
	}
	return conn, nil
}

// A handshake is what greet is to find at the other end.
type handshake struct {
	key  discovery.Key
	want identity.ID
	took *steps
}

// greet does the handshake and reads the greeting. Until it has returned well
// nothing of any call has been sent.
func (t *Transport) greet(ctx context.Context, raw net.Conn, name peerName, h handshake) (*client, *frameReader, error) {
	began := time.Now()
	defer func() { h.took.handshake += time.Since(began) }()
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // releases the read of the greeting
	defer stop()
	sock := newSocket(raw)
	conn := tls.Client(sock, clientConfig(t.cfg.TLS(h.want, h.key)))
	fr := newFrameReader(conn)
	g, err := readGreeting(ctx, conn, fr)
	if err == nil {
		err = checkGreeting(g, conn.ConnectionState(), name)
	}
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close() // err is the one to report
		return nil, nil, notGreeted(ctx, err, name, h.want)
	}
	if g.instance != "" {
		name.instance = g.instance
	}
	c := &client{name: name, peer: h.want, greeting: g, state: t.state}
	c.link = newLink(conn, sock, c)
	c.until, c.expires = mtls.Lifetime(conn.ConnectionState(), t.cfg.Expires, retireAhead)
	hello := greeting{oldest: g.agree(), newest: g.agree(), instance: t.cfg.Instance, version: t.cfg.Version}
	c.mu.Lock()
	c.queue(kindHello, 0, hello.encode())
	c.out.patient = c.out.queued // it goes with the first call, whoever comes first: that, or the link's reader
	c.mu.Unlock()
	return c, fr, nil
}

func readGreeting(ctx context.Context, conn *tls.Conn, fr *frameReader) (greeting, error) {
	if err := conn.HandshakeContext(ctx); err != nil {
		return greeting{}, err
	}
	h, payload, err := fr.read()
	if err != nil {
		return greeting{}, err
	}
	if h.kind == kindAbort {
		return greeting{}, &aborted{printable(string(payload))}
	}
	g, err := parseGreeting(payload)
	if h.kind != kindGreeting || err != nil {
		return greeting{}, violated("its first words are not a greeting")
	}
	return g, nil
}

func checkGreeting(g greeting, cs tls.ConnectionState, name peerName) error {
	if cs.NegotiatedProtocol != ALPN {
		return &apperr.Error{
			Reason: apperr.ProtocolError, What: name.app + " speaks no protocol of ours",
			Cause: fmt.Sprintf("%s speaks %q, not %q", name.addr, cs.NegotiatedProtocol, ALPN),
		}
	}
	if g.agree() == 0 {
		return &apperr.Error{
			Reason: apperr.ProtocolError, What: name.app + " runs a version of pillion that this one cannot speak with",
			Cause: fmt.Sprintf("%s speaks revisions %d to %d (pillion %s), this side %d to %d",
				name.addr, g.oldest, g.newest, g.version, oldestRevision, newestRevision),
			Hint: "run the same version of pillion on both sides",
		}
	}
	return nil
}

// notGreeted is why there is no link, as an error of the call.
func notGreeted(ctx context.Context, err error, name peerName, want identity.ID) *apperr.Error {
	var e *apperr.Error
	var v *violation
	var a *aborted
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), errClosing):
		e = name.unreachable("this sidecar is stopping", err)
	case ctx.Err() != nil:
		e = name.unreachable(fmt.Sprintf("%s did not answer the handshake within %v", name.addr, handshakeTime), context.Cause(ctx))
	case errors.As(err, &v), errors.As(err, &a):
		e = &apperr.Error{Reason: apperr.ProtocolError, What: name.app + " could not be spoken with", Cause: name.ending(err), Err: err}
	default:
		explained := *mtls.Explain(err, want)
		e = &explained
		if e.Reason == apperr.PeerUnreachable {
			e = name.unreachable(name.ending(err)+" during the handshake", err)
		}
	}
	e.Reached = invoke.Evidence{NotGreeted: true}.Reached()
	if e.Instance == "" {
		e.Instance = name.instance
	}
	return e
}

func clientConfig(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	cfg.NextProtos = []string{ALPN}
	return cfg
}
