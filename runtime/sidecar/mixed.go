package sidecar

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"sync"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/discovery/static"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/daprmesh"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/mesh"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
)

// mixedServer takes the calls of both protocols at one listener.
type mixedServer struct {
	*mesh.Server
	dapr *daprmesh.Server
}

// Leave takes no new calls of either; those under way go on.
func (m *mixedServer) Leave() {
	m.Server.Leave()
	m.dapr.Leave()
}

// configOf is the configuration of a connection to an app, by one of protos.
func (n *network) configOf(want identity.ID, protos ...string) *tls.Config {
	key := discovery.Key{Namespace: want.Namespace(), App: want.App()}
	return n.workload.Client(want, discovery.Label(n.key, key), protos...)
}

// agree asks the sidecar of want at addr which of the protocols it speaks. It
// carries no call.
func (n *network) agree(ctx context.Context, addr netip.AddrPort, want identity.ID) (string, error) {
	cs, err := shakeHands(ctx, addr.String(), n.configOf(want, n.spoken...))
	return cs.NegotiatedProtocol, err
}

// mixedClient calls a peer that was given by its address in the protocol that it
// has: it may be an official sidecar. What is found by pillion's discovery is
// pillion.
type mixedClient struct {
	meshClient
	dapr  meshClient
	agree func(ctx context.Context, addr netip.AddrPort, want identity.ID) (string, error)

	mu    sync.Mutex // guards what follows
	asked map[peer]*agreement
}

// A peer is an address and who has to be there.
type peer struct {
	addr netip.AddrPort
	want identity.ID
}

// An agreement is what a peer has said when it was asked for its protocol.
type agreement struct {
	done  chan struct{} // closed when what follows is known
	proto string
	err   error
	gone  bool // who asked has given its own call up
}

// Send implements invoke.Mesh.
func (m *mixedClient) Send(ctx context.Context, to discovery.Endpoint, want identity.ID, c *invoke.Call) (*invoke.Answer, error) {
	if to.Source != static.Name || len(to.Addrs) == 0 {
		return m.meshClient.Send(ctx, to, want, c)
	}
	at := peer{to.Addrs[0], want}
	client, err := m.clientOf(ctx, at)
	if err != nil {
		if c.Body != nil {
			_ = c.Body.Close() // err is the one to report
		}
		return nil, err
	}
	answer, err := client.Send(ctx, to, want, c)
	if e, ok := errors.AsType[*apperr.Error](err); ok && e.Reached == apperr.ReachedNo {
		m.forget(at) // another one may be there now
	}
	return answer, err
}

// clientOf is what calls a peer. One that cannot be reached is called as
// pillion, which says so; one that has not proved who it is is not called.
func (m *mixedClient) clientOf(ctx context.Context, at peer) (meshClient, error) {
	proto, err := m.protocol(ctx, at)
	switch {
	case err == nil && proto == daprmesh.ALPN:
		return m.dapr, nil
	case err == nil:
		return m.meshClient, nil
	}
	e := *mtls.Explain(err, at.want)
	if ctx.Err() != nil || e.Reason == apperr.PeerUnreachable || e.Reason == apperr.Cancelled {
		return m.meshClient, nil //nolint:nilerr // it meets the same and says so
	}
	e.Reached = apperr.ReachedNo // no call is sent before
	return nil, &e
}

// protocol is what a peer has agreed to. One call asks it, and those that come
// meanwhile wait for the answer.
func (m *mixedClient) protocol(ctx context.Context, at peer) (string, error) {
	for {
		m.mu.Lock()
		a := m.asked[at]
		first := a == nil
		if first {
			a = &agreement{done: make(chan struct{})}
			m.asked[at] = a
		}
		m.mu.Unlock()
		if first {
			if a.proto, a.err = m.agree(ctx, at.addr, at.want); a.err != nil {
				a.gone = ctx.Err() != nil
				m.forget(at)
			}
			close(a.done)
			return a.proto, a.err
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
		if !a.gone {
			return a.proto, a.err
		}
	}
}

func (m *mixedClient) forget(at peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.asked, at)
}

// Run implements meshClient.
func (m *mixedClient) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- m.dapr.Run(ctx) }()
	err := m.meshClient.Run(ctx)
	return errors.Join(err, <-done)
}

// Close ends all connections, of both protocols.
func (m *mixedClient) Close() error { return errors.Join(m.meshClient.Close(), m.dapr.Close()) }
