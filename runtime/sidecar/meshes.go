package sidecar

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/discovery/daprmdns"
	"github.com/pillion-dev/pillion/discovery/mdns"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/buildinfo"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/daprmesh"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/mesh"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
)

// How sidecars speak to each other is chosen here and nowhere else: what takes
// calls, what sends them, and where others are looked for. `pillion run` and
// `pillion sidecar --enable-mtls` have mutual TLS and pillion's own protocol
// (docs/adr/0008); the latter speaks Dapr's over it, too, with sidecars that have
// no other. A sidecar without --enable-mtls has Dapr's protocol in clear text and
// Dapr's mDNS records, and nothing else. With and without mutual TLS never speak
// to each other.

// A meshServer takes the calls of other sidecars and hands them to the app.
type meshServer interface {
	// Serve takes calls on ln until ctx ends, and closes ln.
	Serve(ctx context.Context, ln net.Listener) error
	// SetState is told to the callers.
	SetState(state discovery.State)
	// Leave takes no new calls; those under way go on.
	Leave()
}

// A meshClient carries calls to other sidecars.
type meshClient interface {
	invoke.Mesh
	Run(ctx context.Context) error
	Close() error
}

func (s *sidecar) newMeshServer(callee invoke.Handler) meshServer {
	dapr := daprmesh.NewServer(daprmesh.ServerConfig{
		Handler: callee, SpeaksGRPC: s.speaksGRPC(), MaxMessage: s.maxMessage(), Logger: s.log,
	})
	if s.cfg.ClearMesh() {
		return dapr
	}
	own := discovery.Key{Namespace: s.cfg.Namespace, App: s.cfg.AppID}
	options := mtls.ServerOptions{Labels: labelsOf(tlsKey(s.place), own), NextProtos: []string{mesh.ALPN}}
	cfg := mesh.ServerConfig{
		Handler: callee, Instance: s.registration.Entry().ID,
		Version: buildinfo.Version(), State: discovery.Starting, Logger: s.log,
		Expires: func() time.Time { return s.workload.Leaf().NotAfter },
	}
	if !s.cfg.MixedMesh() {
		cfg.TLS = s.workload.Server(options)
		return mesh.NewServer(cfg)
	}
	options.Foreign, cfg.Foreign = []string{daprmesh.ALPN}, dapr.ServeConn
	cfg.TLS = s.workload.Server(options)
	return &mixedServer{mesh.NewServer(cfg), dapr}
}

func (n *network) newMeshClient(o networkOptions) meshClient {
	dapr := daprmesh.TransportConfig{Self: o.workload.ID(), MaxMessage: int(o.cfg.MaxBody), Logger: o.log}
	if o.cfg.ClearMesh() {
		return &kindred{meshClient: daprmesh.NewTransport(dapr), clearText: true}
	}
	expires := func() time.Time { return o.workload.Leaf().NotAfter }
	secure := mesh.NewTransport(mesh.TransportConfig{
		TLS: func(want identity.ID, key discovery.Key) *tls.Config {
			return o.workload.Client(want, discovery.Label(n.key, key), mesh.ALPN)
		},
		Dial: n.dial, Expires: expires, Logger: o.log,
	})
	switch {
	case o.eitherWay:
		return &eitherWay{meshClient: secure, clear: daprmesh.NewTransport(dapr)}
	case o.cfg.MixedMesh():
		dapr.Expires = expires
		dapr.TLS = func(want identity.ID) *tls.Config { return n.configOf(want, daprmesh.ALPN) }
		return &kindred{meshClient: &mixedClient{
			meshClient: secure, dapr: daprmesh.NewTransport(dapr), agree: n.agree, asked: map[peer]*agreement{},
		}}
	}
	return &kindred{meshClient: secure}
}

// kindred calls only sidecars that speak as it does.
type kindred struct {
	meshClient
	clearText bool
}

// Send implements invoke.Mesh.
func (k *kindred) Send(ctx context.Context, to discovery.Endpoint, want identity.ID, c *invoke.Call) (*invoke.Answer, error) {
	if to.ClearText == k.clearText {
		return k.meshClient.Send(ctx, to, want, c)
	}
	e := &apperr.Error{
		Reason: apperr.PeerNotTrusted, Reached: apperr.ReachedNo, Instance: to.Instance,
		What:  want.App() + " runs without mutual TLS, and is not called by an app that has it",
		Cause: "its sidecar speaks Dapr's protocol in clear text",
		Hint:  "start it with --enable-mtls, or with pillion run",
	}
	if k.clearText {
		e.What = want.App() + " takes calls by mutual TLS only, and this sidecar has none"
		e.Cause = "this sidecar speaks Dapr's protocol in clear text"
		e.Hint = "start this one with --enable-mtls, or with pillion run"
	}
	return nil, e
}

// eitherWay calls sidecars as they speak: a person at a terminal has said whom
// to call.
type eitherWay struct {
	meshClient
	clear meshClient
}

// Send implements invoke.Mesh.
func (w *eitherWay) Send(ctx context.Context, to discovery.Endpoint, want identity.ID, c *invoke.Call) (*invoke.Answer, error) {
	if to.ClearText {
		return w.clear.Send(ctx, to, want, c)
	}
	return w.meshClient.Send(ctx, to, want, c)
}

// Close ends all connections, of both kinds.
func (w *eitherWay) Close() error { return errors.Join(w.meshClient.Close(), w.clear.Close()) }

// A multicast is how instances are found by mDNS: pillion's way, or Dapr's.
type multicast interface {
	discovery.Asker
	Announce(a discovery.Announcement) error
	Withdraw(ctx context.Context) error
	Run(ctx context.Context) error
}

// newMulticast makes the mDNS of the kind that the sidecar speaks.
func (n *network) newMulticast(o networkOptions) (multicast, error) {
	if !o.cfg.ClearMesh() {
		return mdns.New(mdns.Options{
			Key: o.place.authority.DiscoveryKey(), Dir: o.place.folder.Path(), LAN: o.cfg.LAN, NetNS: rundir.NetNS(), Logger: o.log, Warn: o.warn,
		})
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	addr := announcedAddr(o.cfg)
	interfaces, err := interfacesOf(addr)
	if err != nil {
		return nil, err
	}
	return daprmdns.New(daprmdns.Options{
		Interfaces: interfaces, Host: host, Addr: addr, PID: os.Getpid(), Namespace: o.cfg.Namespace, Logger: o.log,
	}), nil
}

// announcedAddr is where others reach the mesh listener: where it listens, if
// that is loopback, else where Dapr says this machine is.
func announcedAddr(cfg config.Sidecar) netip.Addr {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if at, err := netip.ParseAddr(cfg.InternalListenAddress); err == nil && at.IsLoopback() || cfg.InternalListenAddress == "localhost" {
		return loopback
	}
	if addr := hostAddr(cfg.HostIP); addr.IsValid() {
		return addr
	}
	if addr := interfaceAddr(); addr.IsValid() {
		return addr
	}
	return loopback
}

// interfaceAddr is the address of a machine without a way to elsewhere: a public
// one goes before a private one, as Dapr has it. The zero Addr is none.
func interfaceAddr() netip.Addr {
	var found netip.Addr
	all, err := net.InterfaceAddrs()
	if err != nil {
		return found
	}
	for _, one := range all {
		prefix, err := netip.ParsePrefix(one.String())
		if err != nil || !prefix.Addr().Is4() || !prefix.Addr().IsGlobalUnicast() {
			continue
		}
		if addr := prefix.Addr(); !found.IsValid() || found.IsPrivate() && !addr.IsPrivate() {
			found = addr
		}
	}
	return found
}

// interfacesOf are those that an address is announced on: loopback for itself,
// all that lead to others for any other.
func interfacesOf(addr netip.Addr) ([]net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	want := net.FlagUp | net.FlagMulticast
	if addr.IsLoopback() {
		want = net.FlagUp | net.FlagLoopback
	}
	return slices.DeleteFunc(all, func(i net.Interface) bool {
		return i.Flags&want != want || addr.IsLoopback() != (i.Flags&net.FlagLoopback != 0)
	}), nil
}
