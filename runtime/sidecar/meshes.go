package sidecar

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/buildinfo"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/mesh"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
)

// How sidecars speak to each other is chosen here and nowhere else: what takes
// calls, what sends them, and where others are looked for. `pillion run` and
// `pillion sidecar --enable-mtls` have mutual TLS and pillion's own protocol
// (docs/adr/0008). So has, in this version, a sidecar whose mesh is to be in
// clear text (config.Sidecar.ClearMesh), which reaches sidecars of its home by
// it.

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
	own := discovery.Key{Namespace: s.cfg.Namespace, App: s.cfg.AppID}
	return mesh.NewServer(mesh.ServerConfig{
		TLS: s.workload.Server(mtls.ServerOptions{
			Labels: labelsOf(tlsKey(s.place), own), NextProtos: []string{mesh.ALPN},
		}),
		Handler: callee, Instance: s.registration.Entry().ID,
		Version: buildinfo.Version(), State: discovery.Starting, Logger: s.log,
		Expires: func() time.Time { return s.workload.Leaf().NotAfter },
	})
}

func (n *network) newMeshClient(o networkOptions) meshClient {
	return mesh.NewTransport(mesh.TransportConfig{
		TLS: func(want identity.ID, key discovery.Key) *tls.Config {
			return o.workload.Client(want, discovery.Label(n.key, key), mesh.ALPN)
		},
		Dial:    n.dial,
		Expires: func() time.Time { return o.workload.Leaf().NotAfter },
		Logger:  o.log,
	})
}
