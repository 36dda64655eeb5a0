package sidecar

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/discovery/local"
	"github.com/pillion-dev/pillion/discovery/static"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/lifecycle"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/daprmesh"
	"github.com/pillion-dev/pillion/runtime/external"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/mesh"
	"github.com/pillion-dev/pillion/runtime/resiliency"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
)

// The sources of discovery, as --discovery names them.
const (
	sourceLocal  = "local"
	sourceMDNS   = "mdns"
	sourceStatic = "static"

	defaultNamespace = identity.DefaultNamespace
)

// withdrawTimeout bounds saying goodbye.
const withdrawTimeout = 500 * time.Millisecond

// identifyTimeout bounds asking a static peer who it is.
const identifyTimeout = 3 * time.Second

// A network is an identity's way to the other apps: how they are found and how
// they are reached. A sidecar has one, and so has a caller without an app.
type network struct {
	log       *slog.Logger
	key       []byte // of the server names
	workload  *mtls.Workload
	spoken    []string // protocols of the mesh by mutual TLS, best first
	resolver  *discovery.Resolver
	folder    *local.Source // nil unless it is a source
	seen      *discovery.Seen
	multicast multicast      // nil unless it is a source
	peers     *static.Source // nil unless it is a source
	transport meshClient
	hosts     *external.Hosts
	invoker   *invoke.Invoker
	served    bool // the app has taken calls; whoever announces holds it

	telling sync.Mutex // guards what follows, and what multicast is told
	gone    bool       // it has said goodbye
}

// hostAddr is this machine's address, as the forwarded fields say it: what
// DAPR_HOST_IP says, else the one packets to elsewhere would leave from, as
// Dapr has it. Nothing is sent to find out: connecting a UDP socket only looks
// at the routes, and 192.0.2.1 is nobody's (RFC 5737). The zero Addr is
// loopback.
func hostAddr(given string) netip.Addr {
	if addr, err := netip.ParseAddr(given); err == nil {
		return addr
	}
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:9")))
	if err != nil {
		return netip.Addr{}
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	addr, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	return addr.AddrPort().Addr().Unmap()
}

// announcing are those of the sources that others find an instance by.
func announcing(sources []string) []string {
	return slices.DeleteFunc(slices.Clone(sources), func(source string) bool { return source == sourceStatic })
}

// networkOptions say whose network it is.
type networkOptions struct {
	cfg      config.Sidecar
	place    *place
	workload *mtls.Workload
	// local is the own app behind its own rules; nil if there is none.
	local invoke.Handler
	// stages see each call of the own app once. taps read them; nil for nobody.
	stages []invoke.Stage
	taps   *invoke.Taps
	// policies are those of the targets by their names; nil for none.
	policies func(string) *resiliency.Policy
	// expected are apps that are known to come.
	expected []discovery.Key
	// endpoints are hosts outside the mesh that can be called by name.
	endpoints []config.HTTPEndpoint
	// eitherWay lets sidecars be called that have no mutual TLS, too.
	eitherWay bool
	log       *slog.Logger
	warn      func(string)
}

func newNetwork(o networkOptions) (*network, error) {
	n := &network{log: o.log, key: tlsKey(o.place), workload: o.workload, spoken: []string{mesh.ALPN}}
	if o.cfg.MixedMesh() {
		n.spoken = append(n.spoken, daprmesh.ALPN)
	}
	if err := n.find(o); err != nil {
		return nil, err
	}
	var err error
	if n.hosts, err = external.New(external.Options{Endpoints: o.endpoints}); err != nil {
		return nil, err
	}
	n.transport = n.newMeshClient(o)
	name, _ := os.Hostname() // without one the forwarded fields say localhost
	n.invoker = invoke.New(invoke.Options{
		Self: o.workload.ID(), Resolver: n.resolver, Mesh: n.transport, Local: o.local, External: n.hosts,
		Hold: o.cfg.Hold, ResolveTimeout: o.cfg.ResolveTimeout, LAN: o.cfg.LAN,
		HostAddr: hostAddr(o.cfg.HostIP), HostName: name, Stages: o.stages, Taps: o.taps, Policies: o.policies, Logger: o.log,
	})
	return n, nil
}

// tlsKey is the key of the server names that sidecars ask each other for.
func tlsKey(p *place) []byte { return discovery.DeriveKey(p.authority.DiscoveryKey(), "") }

// find builds the resolver with the sources that were asked for, in order.
func (n *network) find(o networkOptions) error {
	var sources []discovery.Source
	for _, name := range o.cfg.Discovery {
		source, err := n.source(name, o)
		if err != nil {
			return err
		}
		if source != nil {
			sources = append(sources, source)
		}
	}
	if o.place.home.Path != "" {
		seen, err := discovery.OpenSeen(o.place.home.Seen())
		if err != nil {
			o.log.Warn("apps seen before are forgotten", "err", err)
		}
		n.seen = seen
	}
	n.resolver = discovery.New(discovery.Options{
		Sources: sources, Namespace: o.cfg.Namespace, Seen: n.seen, Declared: o.expected,
		ResolveTimeout: o.cfg.ResolveTimeout, Logger: o.log,
	})
	return nil
}

// source makes one source; nil if there is nothing for it to serve.
func (n *network) source(name string, o networkOptions) (discovery.Source, error) {
	switch name {
	case sourceLocal:
		n.folder = local.New(o.place.folder, local.Options{NetNS: rundir.NetNS()})
		return n.folder, nil
	case sourceMDNS:
		found, err := n.newMulticast(o)
		if err != nil {
			return nil, err
		}
		n.multicast = found
		return found, nil
	case sourceStatic:
		return n.static(o.cfg)
	}
	return nil, &apperr.Error{
		Reason: apperr.Usage, What: "no discovery source " + name, Hint: "local, mdns and static are known",
	}
}

// dial connects to a mesh listener: by its Unix socket if it is on this machine
// and has one that answers, else by its address.
func (n *network) dial(ctx context.Context, addr string) (net.Conn, error) {
	var dialer net.Dialer
	if at, err := netip.ParseAddrPort(addr); err == nil && n.folder != nil {
		if path := n.folder.Socket(at); path != "" {
			if conn, err := dialer.DialContext(ctx, "unix", path); err == nil {
				return conn, nil
			}
		}
	}
	return dialer.DialContext(ctx, "tcp", addr)
}

func (n *network) static(cfg config.Sidecar) (discovery.Source, error) {
	var peers []static.Peer
	for _, one := range cfg.Peers {
		peer, err := static.ParsePeer(one)
		if err != nil {
			return nil, err
		}
		if peer.ClearText = cfg.ClearMesh(); peer.ClearText && peer.App == "" {
			return nil, &apperr.Error{
				Reason: apperr.Usage, What: "the peer " + one + " has no app ID",
				Cause: "without mutual TLS no sidecar can prove whose it is",
				Hint:  "write --peer app-id=" + one + ", or use --enable-mtls",
			}
		}
		peers = append(peers, peer)
	}
	if len(peers) == 0 {
		return nil, nil //nolint:nilnil // no peers, no source
	}
	n.peers = static.New(peers)
	return n.peers, nil
}

// tasks are the network's long-lived parts.
func (n *network) tasks() []lifecycle.Task {
	tasks := []lifecycle.Task{
		{Name: "links", Run: n.transport.Run},
		{Name: "seen", Run: n.seen.Run},
		{Name: "hosts", Run: n.hosts.Run},
	}
	if n.multicast != nil {
		tasks = append(tasks, lifecycle.Task{Name: "mdns", Run: n.multicast.Run})
	}
	if n.peers != nil {
		tasks = append(tasks, lifecycle.Task{Name: "peers", Run: n.learnPeers})
	}
	return tasks
}

// announce tells the sources that announce what the instance says of itself, but
// for one that has said goodbye: nobody would take it back.
func (n *network) announce(e rundir.Entry) {
	n.remember(e)
	n.telling.Lock()
	defer n.telling.Unlock()
	if n.multicast == nil || n.gone {
		return
	}
	err := n.multicast.Announce(discovery.Announcement{
		Key:      discovery.Key{Namespace: e.Namespace, App: e.App},
		Instance: e.ID,
		Port:     meshPortOf(e),
		Addrs:    e.Mesh,
		State:    discovery.State(e.State),
		Since:    e.Since,
	})
	if err != nil {
		n.log.Debug("not announced", "err", err)
	}
}

// remember notes that the app takes calls, when it begins to and when it ends:
// it may be started again, and whoever calls it then waits for it.
func (n *network) remember(e rundir.Entry) {
	state := discovery.State(e.State)
	n.served = n.served || state == discovery.Ready && e.AppPort != 0
	if n.served && (state == discovery.Ready || state == discovery.Draining) {
		n.resolver.Answered(discovery.Key{Namespace: e.Namespace, App: e.App})
	}
}

func meshPortOf(e rundir.Entry) uint16 {
	if len(e.Mesh) == 0 {
		return 0
	}
	return e.Mesh[0].Port()
}

// goodbye tells the sources that announce that the instance leaves. It is the
// last that they are told.
func (n *network) goodbye(ctx context.Context) {
	n.telling.Lock()
	defer n.telling.Unlock()
	n.gone = true
	if n.multicast == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, withdrawTimeout)
	defer cancel()
	if err := n.multicast.Withdraw(ctx); err != nil {
		n.log.Debug("no goodbye", "err", err)
	}
}

// flushSeen writes down who has answered.
func (n *network) flushSeen() {
	if n.seen == nil {
		return
	}
	if err := n.seen.Flush(); err != nil {
		n.log.Debug("apps seen not written", "err", err)
	}
}

// learnPeers asks static peers that were given without an app ID who they are,
// by their certificate. It tries again until all have answered.
func (n *network) learnPeers(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		for _, peer := range n.peers.Unidentified() {
			addr := net.JoinHostPort(peer.Host, port(peer.Port))
			id, err := n.identify(ctx, addr)
			if err != nil {
				n.log.Debug("peer did not say who it is", "peer", addr, "err", err)
				continue
			}
			n.peers.Learn(addr, discovery.Key{Namespace: id.Namespace(), App: id.App()})
		}
		if len(n.peers.Unidentified()) == 0 {
			<-ctx.Done()
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// close drops the links. What is in flight on them ends.
func (n *network) close() {
	n.flushSeen()
	_ = n.transport.Close() // what is in flight has been drained or given up
}

var (
	errNotTCP = errors.New("the mesh listener is not TCP")
	errNotTLS = errors.New("the connection is not TLS")
)

// meshAddrs are the addresses others on this machine reach ln at.
func meshAddrs(ln net.Listener) ([]netip.AddrPort, error) {
	tcp, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return nil, errNotTCP
	}
	addr := tcp.AddrPort()
	if addr.Addr().IsUnspecified() {
		addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), addr.Port())
	}
	return []netip.AddrPort{addr}, nil
}

// labelsOf are the server names a sidecar answers to: its own app's, and the
// one a peer uses who does not know its name yet.
func labelsOf(key []byte, own discovery.Key) func(string) bool {
	mine, every := discovery.Label(key, own), discovery.EveryLabel(key)
	return func(name string) bool { return name == mine || name == every }
}

// identify asks the sidecar at addr who it is, by its certificate. It carries
// no call.
func (n *network) identify(ctx context.Context, addr string) (identity.ID, error) {
	cs, err := shakeHands(ctx, addr, n.workload.AnyClient(discovery.EveryLabel(n.key), n.spoken...))
	if err != nil {
		return identity.ID{}, err
	}
	return mtls.PeerID(cs)
}

// shakeHands makes a connection only to look at it.
func shakeHands(ctx context.Context, addr string, how *tls.Config) (tls.ConnectionState, error) {
	ctx, cancel := context.WithTimeout(ctx, identifyTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: how}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = conn.Close() }() // it was only looked at
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return tls.ConnectionState{}, errNotTLS
	}
	return secure.ConnectionState(), nil
}
