package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// TransportConfig is what a Transport is made of. TLS is required.
type TransportConfig struct {
	// TLS is the configuration of a connection to want, which is found under
	// key. It must let nobody else pass.
	TLS func(want identity.ID, key discovery.Key) *tls.Config
	// Dial opens a connection to a host and port. Nil is a net.Dialer.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Expires is when our own leaf ends; it is asked at each handshake. Nil is
	// never.
	Expires func() time.Time
	// Instance and Version are who we tell the peer we are, for its logs.
	Instance, Version string
	// Logger gets a line for each link, at debug level. Nil discards.
	Logger *slog.Logger
}

// A Transport carries calls to other instances, over one link for each as long
// as that takes all calls. It is an invoke.Mesh and safe for concurrent use.
type Transport struct {
	cfg     TransportConfig
	log     *slog.Logger
	onState atomic.Pointer[func(string, discovery.State)]
	waiting atomic.Int32 // calls that wait for a link to have room
	work    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	peers  map[peerKey]*peer
	closed bool
}

var _ invoke.Mesh = (*Transport)(nil)

// A peerKey is what links are found by: where the peer is and who it has to
// be.
type peerKey struct {
	addr netip.AddrPort
	want identity.ID
}

// A peer is the links to one instance. The transport's mutex guards it.
type peer struct {
	links   []*client
	dialing *dialing
	freed   chan struct{} // closed when a link has room again; nil if nobody waits
}

// NewTransport makes a Transport. It opens nothing.
func NewTransport(cfg TransportConfig) *Transport {
	if cfg.Dial == nil {
		dialer := &net.Dialer{}
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr)
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Transport{cfg: cfg, log: cfg.Logger, peers: map[peerKey]*peer{}}
}

// OnState makes f be told what instances say of their state: when a link to
// them begins, and at each change while it lasts. f must not block. It
// replaces the one before.
func (t *Transport) OnState(f func(instance string, s discovery.State)) { t.onState.Store(&f) }

func (t *Transport) state(instance string, s discovery.State) {
	if f := t.onState.Load(); f != nil && instance != "" && s != "" {
		(*f)(instance, s)
	}
}

// Run keeps the transport until ctx ends, then closes it and returns nil.
func (t *Transport) Run(ctx context.Context) error {
	<-ctx.Done()
	return t.Close()
}

// Close ends all links, and the calls on them, and waits until nothing is left
// of them. Later calls fail.
func (t *Transport) Close() error {
	t.mu.Lock()
	t.closed = true
	var links []*client
	for _, p := range t.peers {
		links = append(links, p.links...)
		if p.dialing != nil {
			p.dialing.cancel(errClosing)
		}
	}
	t.mu.Unlock()
	for _, c := range links {
		c.end(errClosing, nil)
	}
	t.work.Wait()
	return nil
}

// Send makes one attempt to carry c to the instance at to, which must prove to
// be want before anything is sent. It waits for the answer's head; the answer
// streams. c's Body is closed when Send fails, and with the answer otherwise;
// its Close must release its Read. Errors are *apperr.Error.
func (t *Transport) Send(ctx context.Context, to discovery.Endpoint, want identity.ID, c *invoke.Call) (*invoke.Answer, error) {
	answer, err := t.attempt(ctx, to, want, c)
	if err != nil {
		if c.Body != nil {
			_ = c.Body.Close() // err is the one to report
		}
		return nil, err
	}
	return answer, nil
}

func (t *Transport) attempt(ctx context.Context, to discovery.Endpoint, want identity.ID, c *invoke.Call) (*invoke.Answer, error) {
	head := callHead{call: c, target: discovery.Key{Namespace: want.Namespace(), App: want.App()}}
	for {
		l, err := t.link(ctx, to, want, c.Timing)
		if err != nil {
			return nil, err
		}
		var failed *apperr.Error
		if head.timeLeft, failed = timeLeft(ctx, want.App()); failed != nil {
			return nil, failed
		}
		o := newOutgoing(ctx, l, c)
		switch err := l.start(ctx, o, head); {
		case err == nil:
			return o.carry(to)
		case !errors.Is(err, errUnused):
			return nil, err
		}
		// The link ended between its choice and its use, and nothing of the
		// call was queued on it: it is as if it had not been chosen.
	}
}

// timeLeft is how long the peer may take.
func timeLeft(ctx context.Context, app string) (time.Duration, *apperr.Error) {
	if ctx.Err() != nil {
		return 0, given(ctx, app, invoke.Evidence{NotWritten: true})
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0, nil
	}
	return min(max(time.Until(deadline), time.Microsecond), maxTimeLeft), nil
}

func newOutgoing(ctx context.Context, l *client, c *invoke.Call) *outgoing {
	o := &outgoing{c: l, call: c, ctx: ctx, began: time.Now()}
	o.init(l.link, o)
	if c.Expect && c.Body != nil {
		o.cont = make(chan struct{})
	}
	return o
}

// carry waits for the answer to a call that has begun.
func (o *outgoing) carry(to discovery.Endpoint) (*invoke.Answer, error) {
	o.watch = callctx.OnEnd(o.ctx, o.ctxEnded)
	if o.call.Body != nil && !o.whole {
		go o.upload() // the link waits for it
	}
	head, failed := o.await()
	if failed != nil {
		o.watch.Stop()
		return nil, failed
	}
	return o.answerOf(head, to), nil
}

// link returns a link to the instance that takes a call, waiting for one to be
// dialled if it must.
func (t *Transport) link(ctx context.Context, to discovery.Endpoint, want identity.ID, timing *invoke.Timing) (*client, error) {
	if len(to.Addrs) == 0 {
		return nil, peerName{app: want.App(), instance: to.Instance}.unreachable("it has no address", nil)
	}
	key := peerKey{to.Addrs[0], want}
	for {
		c, d, freed, err := t.choose(ctx, key, to)
		switch {
		case err != nil || c != nil:
			return c, err
		case d != nil:
			return d.wait(ctx, want.App(), timing)
		}
		select {
		case <-freed:
			t.waiting.Add(-1)
		case <-ctx.Done():
			t.waiting.Add(-1)
			return nil, given(ctx, want.App(), invoke.Evidence{NotWritten: true})
		}
	}
}

// choose returns a link that takes a call, or the dialling of one, or what to
// wait for when there are as many as there may be.
func (t *Transport) choose(ctx context.Context, key peerKey, to discovery.Endpoint) (*client, *dialing, <-chan struct{}, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, nil, nil, peerName{app: key.want.App(), instance: to.Instance}.unreachable("this sidecar is stopping", errClosing)
	}
	p := t.peers[key]
	if p == nil {
		p = &peer{}
		t.peers[key] = p
	}
	for _, c := range p.links {
		if c.hasRoom() {
			return c, nil, nil, nil
		}
	}
	if p.dialing != nil {
		return nil, p.dialing, nil, nil
	}
	if p.usable() < maxLinks {
		p.dialing = t.dial(ctx, key, to)
		return nil, p.dialing, nil, nil
	}
	t.waiting.Add(1)
	if p.freed == nil {
		p.freed = make(chan struct{})
	}
	// A call that ended since the links were looked at told nobody.
	if slices.ContainsFunc(p.links, (*client).hasRoom) {
		close(p.freed)
		freed := p.freed
		p.freed = nil
		return nil, nil, freed, nil
	}
	return nil, nil, p.freed, nil
}

func (p *peer) usable() int {
	n := 0
	for _, c := range p.links {
		if c.isUsable() {
			n++
		}
	}
	return n
}

// freed wakes the calls that wait for a link to have room.
func (t *Transport) freed(key peerKey) {
	if t.waiting.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[key]; p != nil && p.freed != nil {
		close(p.freed)
		p.freed = nil
	}
}
