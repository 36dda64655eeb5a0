package daprmesh

import (
	"context"
	"errors"
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
)

// TransportConfig is what a Transport is made of.
type TransportConfig struct {
	// Self is the app whose calls they are, as peers are told.
	Self identity.ID
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
	peers  map[string]*remote
	all    map[*link]struct{} // that are read, those that take no more calls too
	closed bool
}

var _ invoke.Mesh = (*Transport)(nil)

// A remote is an address and the connections to it that take calls.
type remote struct {
	links   []*link
	dialing chan struct{} // closed when the connection that is being made is there or has failed; nil if there is none
}

// A link is one connection to a peer.
type link struct {
	*h2.Client
	since time.Time // without calls since then; the transport's mutex guards it
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
	return &Transport{cfg: cfg, log: cfg.Logger, peers: map[string]*remote{}, all: map[*link]struct{}{}}
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
	for addr, p := range t.peers {
		p.links = slices.DeleteFunc(p.links, func(l *link) bool {
			switch {
			case !l.Usable():
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
			delete(t.peers, addr)
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

// Send makes one attempt to carry c to the instance at to. Who answers there is
// not proved. c's Body is closed when Send fails, and with the answer otherwise.
// Errors are *apperr.Error.
func (t *Transport) Send(ctx context.Context, to discovery.Endpoint, want identity.ID, c *invoke.Call) (*invoke.Answer, error) {
	e := &exchange{t: t, to: to, app: want.App(), call: c}
	answer, err := e.carry(ctx)
	if err != nil {
		closeBody(c)
		return nil, err
	}
	answer.Instance, answer.Endpoint = to.Instance, to
	return answer, nil
}

// get returns a connection to addr with a place for a stream. One is made at a
// time: the calls that come meanwhile share it.
func (t *Transport) get(ctx context.Context, addr string) (*link, error) {
	for {
		l, wait, err := t.pick(addr)
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
			return t.dial(ctx, addr)
		default:
			return l, nil
		}
	}
}

// pick returns a connection with a place, or what to wait for; neither if the
// caller is to make a connection, which it has to.
func (t *Transport) pick(addr string) (*link, <-chan struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, nil, errClosing
	}
	p := t.peers[addr]
	if p == nil {
		p = &remote{}
		t.peers[addr] = p
	}
	p.links = slices.DeleteFunc(p.links, func(l *link) bool { return !l.Usable() })
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

// dial makes a connection and takes a place on it. Those who wait for it look
// again, however it ends.
func (t *Transport) dial(ctx context.Context, addr string) (*link, error) {
	dialer := net.Dialer{Timeout: dialTimeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
	}}
	nc, err := dialer.DialContext(ctx, "tcp", addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[addr]
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
	l := &link{Client: h2.NewClient(nc), since: time.Now()}
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

// unreachable is the error of a call that no peer was given.
func (e *exchange) unreachable(ctx context.Context, err error) *apperr.Error {
	if ctx.Err() != nil {
		return e.given(ctx, apperr.ReachedNo)
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
