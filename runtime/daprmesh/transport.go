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
// concurrent use. It repeats nothing but a stream of which a peer has proved
// that it did not take it.
type Transport struct {
	cfg  TransportConfig
	log  *slog.Logger
	work sync.WaitGroup // connections that are read

	mu     sync.Mutex // guards what follows
	peers  map[string][]*link
	closed bool
}

var _ invoke.Mesh = (*Transport)(nil)

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
	return &Transport{cfg: cfg, log: cfg.Logger, peers: map[string][]*link{}}
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
	for addr, links := range t.peers {
		links = slices.DeleteFunc(links, func(l *link) bool {
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
		if t.peers[addr] = links; len(links) == 0 {
			delete(t.peers, addr)
		}
	}
}

// Close ends all connections with the calls on them, and waits until nothing is
// left of them. Later calls fail.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	for _, links := range t.peers {
		for _, l := range links {
			l.Close()
		}
	}
	t.mu.Unlock()
	t.work.Wait()
	return nil
}

// Send makes one attempt to carry c to the instance at to. Who answers there is
// not proved. c's Body is closed when Send fails, and with the answer otherwise.
// Errors are *apperr.Error.
func (t *Transport) Send(ctx context.Context, to discovery.Endpoint, want identity.ID, c *invoke.Call) (*invoke.Answer, error) {
	e := &exchange{t: t, to: to, app: want.App(), call: c}
	answer, err := e.carry(ctx)
	if err != nil {
		if c.Body != nil {
			_ = c.Body.Close() // err is the one to report
		}
		return nil, err
	}
	answer.Instance, answer.Endpoint = to.Instance, to
	return answer, nil
}

// get returns a connection to addr with a place for a stream.
func (t *Transport) get(ctx context.Context, addr string) (*link, error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, errClosing
	}
	links := slices.DeleteFunc(t.peers[addr], func(l *link) bool { return !l.Usable() })
	t.peers[addr] = links
	for _, l := range links {
		if l.TryReserve() {
			l.since = time.Now()
			t.mu.Unlock()
			return l, nil
		}
	}
	full := len(links) >= maxConns
	t.mu.Unlock()
	if full {
		return links[0], links[0].Reserve(ctx)
	}
	return t.dial(ctx, addr)
}

func (t *Transport) dial(ctx context.Context, addr string) (*link, error) {
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: 10 * time.Second}
	nc, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		if ctx.Err() != nil {
			err = callctx.Cause(ctx)
		}
		return nil, err
	}
	l := &link{Client: h2.NewClient(nc), since: time.Now()}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		_ = nc.Close() // nobody wants it
		return nil, errClosing
	}
	t.peers[addr] = append(t.peers[addr], l)
	t.work.Go(l.Run)
	t.mu.Unlock()
	return l, l.Reserve(ctx)
}

// unreachable is the error of a call that no peer was given.
func (e *exchange) unreachable(ctx context.Context, err error) *apperr.Error {
	if ctx.Err() != nil {
		return e.given(ctx, apperr.ReachedNo)
	}
	var dial *net.OpError
	cause := err.Error()
	if errors.As(err, &dial) {
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
