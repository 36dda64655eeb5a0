package sidecar

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/buildinfo"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/logs"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
	"github.com/pillion-dev/pillion/tls/sentry"
)

// logFlush bounds the wait for the log's last lines.
const logFlush = 2 * time.Second

// doorDrain bounds the wait for requests at the doors once the app is gone:
// they are other programs', and the grace period is over.
const doorDrain = 500 * time.Millisecond

// bind opens the doors and the mesh listener. Ports are announced only once
// they are ours.
func (s *sidecar) bind(ctx context.Context) error {
	if err := s.bindDoors(ctx); err != nil {
		return err
	}
	if err := s.bindPublic(ctx); err != nil {
		return err
	}
	var err error
	if s.cfg.Profile.LoopbackDoors {
		s.meshLn, err = bindMesh(ctx, s.cfg.MeshPort, s.stablePort(), s.cfg.LAN)
	} else {
		s.meshLn, err = s.bindInternal(ctx)
	}
	if err != nil {
		return s.taken(err, s.cfg.MeshPort, "--dapr-internal-grpc-port")
	}
	if err := s.bindProfiling(ctx); err != nil {
		return err
	}
	if err := s.bindMetrics(ctx); err != nil {
		return err
	}
	if s.cfg.AppPortAuto {
		if s.cfg.AppPort, s.claim, err = freePort(ctx); err != nil {
			return err
		}
	}
	if s.env.Watch.Bound != nil {
		s.env.Watch.Bound(Ports{HTTP: s.http.port, GRPC: s.grpc.port})
	}
	return nil
}

func (s *sidecar) taken(err error, port uint16, flag string) error {
	live, _ := s.place.folder.Entries() // only to name the holder
	return portTaken(err, port, flag, live)
}

// identify makes the workload's key and gets its first leaf.
func (s *sidecar) identify(ctx context.Context) error {
	id, err := identity.New(s.place.authority.TrustDomain(), s.cfg.Namespace, s.cfg.AppID)
	if err != nil {
		return &apperr.Error{Reason: apperr.Usage, What: err.Error(), Err: err}
	}
	s.workload, err = mtls.NewWorkload(ctx, mtls.Config{
		ID: id, Sentry: sentry.NewLocal(s.place.authority, ca.LeafTTL), Logger: s.log,
		Renewed: s.certified,
	})
	return err
}

// register makes the instance visible to others on this machine. Its mesh
// listener is bound already, so that whoever sees it can call it.
func (s *sidecar) register(ctx context.Context) error {
	addrs, err := meshAddrs(s.meshLn)
	if err != nil {
		return err
	}
	s.registration, err = s.place.folder.Register(rundir.Entry{
		App: s.cfg.AppID, Namespace: s.cfg.Namespace,
		TrustDomain: s.place.authority.TrustDomain(), Identity: s.workload.ID().String(),
		State: string(discovery.Starting), Mesh: addrs, ClearText: s.cfg.ClearMesh(), NetNS: rundir.NetNS(),
		UID: os.Getuid(), PID: os.Getpid(),
		AppPort: s.cfg.AppPort, Protocol: s.cfg.AppProtocol,
		HTTPPort: s.http.port, GRPCPort: s.grpc.port,
		Command: s.cfg.Command, Folder: s.workingFolder(), Home: s.env.Home.Path,
		Since: s.began.UTC(), Version: buildinfo.Version(), Derived: s.cfg.Derived, LAN: s.cfg.LAN,
		RunFile: s.cfg.RunFile, RunName: s.cfg.RunName, AppLog: s.cfg.AppLogFile, SidecarLog: s.cfg.SidecarLogFile,
		Discovery:   announcing(s.cfg.Discovery),
		CertExpires: s.workload.Leaf().NotAfter,
	})
	if err != nil {
		return err
	}
	if !s.cfg.ClearMesh() {
		s.openMeshSocket(ctx)
	}
	return nil
}

// openMeshSocket opens the mesh to callers on this machine by a Unix socket,
// which costs half of a loopback connection. Without it they take that.
func (s *sidecar) openMeshSocket(ctx context.Context) {
	path, err := s.registration.MeshSocket()
	if err == nil {
		var lc net.ListenConfig
		s.meshSocket, err = lc.Listen(ctx, "unix", path)
	}
	if err == nil {
		err = s.registration.Update(func(e *rundir.Entry) { e.MeshSocket = path })
	}
	if err != nil {
		s.log.Debug("no socket for the mesh: callers on this machine use its port", "err", err)
	}
}

func (s *sidecar) workingFolder() string {
	dir := s.cfg.Dir
	if dir == "" {
		dir = "."
	}
	if absolute, err := filepath.Abs(dir); err == nil {
		return absolute
	}
	return dir
}

// keep begins the run's log. A log that cannot be kept is said, and is no
// reason not to run.
func (s *sidecar) keep(ctx context.Context) error {
	if s.env.Home.Path == "" {
		return nil // no home to keep it in, which has been said
	}
	record, err := s.beginRecord(ctx)
	if record == nil {
		s.say(Notice{Kind: Warning, Text: "the output of " + s.cfg.AppID + " is not kept", Cause: err.Error()})
		return context.Cause(ctx)
	}
	s.record = record
	number := record.Number()
	return s.registration.Update(func(e *rundir.Entry) { e.Run = number })
}

func (s *sidecar) beginRecord(ctx context.Context) (*logs.Run, error) {
	store, err := logs.Open(s.env.Home.Logs(), logs.Limits{Run: s.cfg.LogsPerRun, Total: s.cfg.LogsTotal})
	if err != nil {
		return nil, err
	}
	return store.Begin(ctx, logs.Info{
		App: s.cfg.AppID, Namespace: s.cfg.Namespace, Instance: s.registration.Entry().ID,
		Command: s.cfg.Command, Folder: s.workingFolder(),
	})
}

// wire builds both sides of the call path: the app behind the mesh listener,
// and the invoker behind the doors.
func (s *sidecar) wire(ctx context.Context) error {
	if err := s.observe(ctx, s.resources.current().Configuration); err != nil {
		return err
	}
	s.countPolicies()
	first := s.newRoom(s.cfg.AppPort, s.claim)
	if s.isBuilt() {
		first.app.Building()
	}
	s.relay = app.NewRelay(first.app)
	s.current.Store(first)
	s.rooms <- first // it has room for one
	rules, err := s.rules()
	if err != nil {
		return err
	}
	callee := invoke.NewCallee(invoke.CalleeOptions{
		Self: s.workload.ID(), Access: rules, App: s.relay, Taps: &s.taps, Stages: append(s.calleeStages(), s.callback()),
		Claims: s.cfg.ClearMesh(),
	})
	stages := s.callerStages()
	if s.logsAPI() {
		s.taps.Attach(apiLog{s})
		stages = append(stages, s.logPeers)
	}
	s.server = s.newMeshServer(callee)
	s.net, err = newNetwork(networkOptions{
		cfg: s.cfg, place: s.place, workload: s.workload, local: callee, stages: stages, taps: &s.taps, policies: s.policyOf,
		expected: s.env.Expected, endpoints: s.resources.current().HTTPEndpoints, log: s.log,
		warn: func(problem string) { s.say(Notice{Kind: Warning, Text: problem}) },
	})
	if err != nil {
		return err
	}
	if err := s.openState(ctx); err != nil {
		return err
	}
	s.service = s.newGRPC(s.net.invoker, s.state, s.resources.current().Configuration.API) //nolint:contextcheck // a stream has its own
	s.followEndpoints(s.net.hosts)
	s.openDoors()
	return nil
}

// standard reports whether the Go library speaks HTTP instead of our own
// engines.
func (s *sidecar) standard() bool { return s.cfg.Engine == "standard" }

// doorDrain bounds the wait for requests at the doors once they are closed.
func (s *sidecar) doorDrain() time.Duration {
	if s.cfg.Profile.AsDaprd {
		return s.cfg.Grace
	}
	return doorDrain
}

// launch starts the app. It comes last: from here on there is something to
// stop. An app that is built first is started by the conductor.
func (s *sidecar) launch(ctx context.Context) error {
	if len(s.cfg.Command) == 0 || s.isBuilt() {
		return nil
	}
	p, err := s.execute(ctx, s.current.Load())
	if err != nil {
		return err
	}
	return s.announcePID(p)
}
