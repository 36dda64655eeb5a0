package daprmesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
)

// TransportConfig is what a Transport is made of.
type TransportConfig struct {
	// Self is the app whose calls they are, as peers are told.
	Self identity.ID
	// TLS is the configuration of a connection to the app want and nobody else,
	// with ALPN for its protocol. Nil: clear text.
	TLS func(want identity.ID) *tls.Config
	// Expires is when our own leaf ends. Nil is never.
	Expires func() time.Time
	// MaxMessage bounds a message in bytes. Zero: 4 MiB; below zero: 2 GiB.
	MaxMessage int
	// Logger may be nil.
	Logger *slog.Logger
}

// A Transport carries calls to other sidecars. It is an invoke.Mesh and safe for
// concurrent use. It repeats nothing but what a peer has proved that it did not
// take.
type Transport struct {
	cfg  TransportConfig
	log  *slog.Logger
	work sync.WaitGroup // connections that are read

	mu     sync.Mutex // guards what follows
	peers  map[place]*remote
	all    map[*link]struct{} // that are read, those that take no more calls too
	closed bool
}

var _ invoke.Mesh = (*Transport)(nil)

// A place is where a peer is called, and who has to be there.
type place struct {
	addr string
	want identity.ID // nobody in clear text, which proves nothing
}

// A remote is a place and the connections to it that take calls.
type remote struct {
	links   []*link
	dialing chan struct{} // closed when the connection that is being made is there or has failed; nil if there is none
}

// A link is one connection to a peer.
type link struct {
	*h2.Client
	until time.Time // takes no calls from then on: a certificate ends; zero is never
	since time.Time // without calls since then; the transport's mutex guards it
}

// takes reports whether calls may begin on it.
func (l *link) takes() bool {
	if !l.until.IsZero() && !time.Now().Before(l.until) {
		l.Retire()
	}
	return l.Usable()
}

// NewTransport makes a Transport. It opens nothing.
func NewTransport(cfg TransportConfig) *Transport {
	switch {
	case cfg.MaxMessage == 0:
		cfg.MaxMessage = defaultMaxMessage
	case cfg.MaxMessage < 0:
		cfg.MaxMessage = 1<<31 - 1
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Transport{cfg: cfg, log: cfg.Logger, peers: map[place]*remote{}, all: map[*link]struct{}{}}
}

// Run closes connections that have had no calls for a while, until ctx ends; it
// closes the transport then and returns nil.
func (t *Transport) Run(ctx context.Context) error {
	tick := time.NewTicker(idleClose / 4)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			t.sweep(now)
		case <-ctx.Done():
			return t.Close()
		}
	}
}

func (t *Transport) sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for at, p := range t.peers {
		p.links = slices.DeleteFunc(p.links, func(l *link) bool {
			switch {
			case !l.takes():
				return true
			case l.Open() > 0:
				l.since = now
			case now.Sub(l.since) > idleClose:
				l.Retire()
				return true
			}
			return false
		})
		if len(p.links) == 0 && p.dialing == nil {
			delete(t.peers, at)
		}
	}
}

// Close ends all connections with the calls on them, and waits until nothing is
// left of them. Later calls fail.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	for l := range t.all {
		l.Close()
	}
	t.mu.Unlock()
	t.work.Wait()
	return nil
}

func (t *Transport) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// Send makes one attempt to carry c to the instance at to. Without TLS who
// answers there is not proved. c's Body is closed when Send fails, and with the answer otherwise.
// Errors are *apperr.Error.
func (t *Transport) Send(ctx context.Context, to discovery.Endpoint, want identity.ID, c *invoke.Call) (*invoke.Answer, error) {
	e := &exchange{t: t, to: to, app: want.App(), want: want, call: c}
	answer, err := e.carry(ctx)
	if err != nil {
		closeBody(c)
		return nil, err
	}
	answer.Instance, answer.Endpoint = to.Instance, to
	return answer, nil
}

// get returns a connection that has room for a stream. One is made at a time:
// the calls that come meanwhile share it.
func (t *Transport) get(ctx context.Context, at place) (*link, error) {
	for {
		l, wait, err := t.pick(at)
		switch {
		case err != nil:
			return nil, err
		case wait != nil:
			select {
			case <-wait:
			case <-ctx.Done():
				return nil, callctx.Cause(ctx)
			}
		case l == nil:
			return t.dial(ctx, at)
		default:
			return l, nil
		}
	}
}

// pick returns a connection with room, or what to wait for; neither if the
// caller is to make a connection, which it has to.
func (t *Transport) pick(at place) (*link, <-chan struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, nil, errClosing
	}
	p := t.peers[at]
	if p == nil {
		p = &remote{}
		t.peers[at] = p
	}
	p.links = slices.DeleteFunc(p.links, func(l *link) bool { return !l.takes() })
	for _, l := range p.links {
		if l.TryReserve() {
			l.since = time.Now()
			return l, nil, nil
		}
	}
	if p.dialing != nil {
		return nil, p.dialing, nil
	}
	if len(p.links) >= maxConns {
		return nil, nil, errFull
	}
	p.dialing = make(chan struct{})
	return nil, nil, nil
}

// dial makes a connection and takes a stream's room on it. Those who wait for it
// look again, however it ends.
func (t *Transport) dial(ctx context.Context, at place) (*link, error) {
	limited, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, until, err := t.connect(limited, at)
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[at]
	close(p.dialing)
	p.dialing = nil
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, callctx.Cause(ctx)
	case err != nil:
		return nil, err
	case t.closed:
		_ = nc.Close() // nobody wants it
		return nil, errClosing
	}
	l := &link{Client: h2.NewClient(nc), until: until, since: time.Now()}
	l.TryReserve() // nobody else has it yet
	p.links = append(p.links, l)
	t.all[l] = struct{}{}
	t.work.Go(func() {
		l.Run()
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.all, l)
	})
	return l, nil
}

// connect makes a connection, on which with TLS the peer has proved who it is,
// and says until when calls may begin on it.
func (t *Transport) connect(ctx context.Context, at place) (net.Conn, time.Time, error) {
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
	}}
	nc, err := dialer.DialContext(ctx, "tcp", at.addr)
	if err != nil || t.cfg.TLS == nil {
		return nc, time.Time{}, err
	}
	secure := tls.Client(nc, t.cfg.TLS(at.want))
	err = secure.HandshakeContext(ctx)
	cs := secure.ConnectionState()
	if err == nil && cs.NegotiatedProtocol != ALPN {
		err = fmt.Errorf("it agreed to no protocol of Dapr's, but to %q", cs.NegotiatedProtocol)
	}
	if err != nil {
		_ = nc.Close() // err is the one to report
		return nil, time.Time{}, &handshakeError{err}
	}
	until, _ := mtls.Lifetime(cs, t.cfg.Expires, retireAhead) // what is under way then may end, as with Dapr
	return secure, until, nil
}

// A handshakeError is why a peer has not proved who it is.
type handshakeError struct{ error }

func (e *handshakeError) Unwrap() error { return e.error }

// unreachable is the error of a call that no peer was given.
func (e *exchange) unreachable(ctx context.Context, err error) *apperr.Error {
	if ctx.Err() != nil {
		return e.given(ctx, apperr.ReachedNo)
	}
	if unproved, ok := errors.AsType[*handshakeError](err); ok {
		explained := *mtls.Explain(unproved.error, e.want)
		explained.Reached, explained.Instance = apperr.ReachedNo, e.to.Instance // no call is sent before
		return &explained
	}
	cause := err.Error()
	if dial, ok := errors.AsType[*net.OpError](err); ok {
		cause = "its sidecar at " + e.addr() + " is not there: " + dial.Err.Error()
	}
	return &apperr.Error{
		Reason: apperr.PeerUnreachable, What: e.app + " could not be reached", Cause: cause,
		Reached: apperr.ReachedNo, Instance: e.to.Instance, Err: err,
	}
}

// given is the error of a call whose caller gave it up.
func (e *exchange) given(ctx context.Context, reached apperr.Reached) *apperr.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &apperr.Error{
			Reason: apperr.DeadlineExceeded, Hop: apperr.HopPeer, What: e.app + " did not answer in time",
			Dapr: "context deadline exceeded", Reached: reached, Instance: e.to.Instance, Err: ctx.Err(),
		}
	}
	return &apperr.Error{
		Reason: apperr.Cancelled, What: "the caller gave the call to " + e.app + " up", Reached: reached,
		Instance: e.to.Instance, Err: callctx.Cause(ctx),
	}
}
