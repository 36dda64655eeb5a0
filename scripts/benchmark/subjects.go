package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/scripts/internal/grpcload"
	"github.com/pillion-dev/pillion/scripts/internal/smallapp"
)

const (
	protoHTTP = "http"
	protoGRPC = "grpc"
)

// Names of the three subjects; a variant of pillion has its own.
const (
	nameDirect  = "direct"
	nameHAProxy = "HAProxy"
	namePillion = "pillion"
)

// calleeID is what the small app is called by.
const calleeID = "bench-callee"

// A subject is a way to the small app.
type subject struct {
	name     string
	proto    string
	base     string            // HTTP: what a path is appended to
	address  string            // gRPC: where to connect
	metadata map[string]string // gRPC: what each call says
	proxies  []*process        // between the client and the app
	app      *process          // the app, if it is not a proxy's child
}

// pids are the processes of the proxies, and the apps'.
func (s *subject) pids() (proxies, apps []int, err error) {
	for _, p := range s.proxies {
		f, err := familyOf(p.cmd.Process.Pid)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w\n%s", p.name, err, p.said)
		}
		proxies, apps = append(proxies, f.own...), append(apps, f.others...)
	}
	if s.app != nil {
		apps = append(apps, s.app.cmd.Process.Pid)
	}
	return proxies, apps, nil
}

// startApp starts the small app by itself.
func (b *bench) startApp(ctx context.Context) (p *process, port string, err error) {
	ports, err := freePorts(ctx, 1)
	if err != nil {
		return nil, "", err
	}
	p, err = b.keep(start("app", b.work, environ(), b.self, "app", ports[0]))
	if err != nil {
		return nil, "", err
	}
	return p, ports[0], p.await(ctx, func(ctx context.Context) error { return answers(ctx, "http://"+loopback+":"+ports[0]+smallapp.Notify) })
}

func direct(proto string, app *process, port string) *subject {
	return &subject{name: nameDirect, proto: proto, base: "http://" + loopback + ":" + port, address: loopback + ":" + port, app: app}
}

// startHAProxy starts both hops, in one process, before an app.
func (b *bench) startHAProxy(ctx context.Context, proto string, app *process, appPort string) (*subject, error) {
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return nil, err
	}
	name := "two-hop-" + proto + ".cfg"
	config := filepath.Join(b.work, name)
	if err := b.extract(name, config); err != nil {
		return nil, err
	}
	env := environ("CALLER_PORT="+ports[0], "PEER_PORT="+ports[1], "APP_PORT="+appPort, "CERTS="+b.certs)
	p, err := b.keep(start("haproxy", b.work, env, "haproxy", "-f", config))
	if err != nil {
		return nil, err
	}
	s := &subject{
		name: nameHAProxy, proto: proto, proxies: []*process{p}, app: app,
		base: "http://" + loopback + ":" + ports[0], address: loopback + ":" + ports[0],
	}
	return s, p.await(ctx, s.reachable)
}

// A pairSpec is what differs between pairs of sidecars.
type pairSpec struct {
	name    string
	proto   string
	flags   []string // of both `pillion run`; PORT in one is a port of its own
	noPort  bool     // the caller is an app that listens nowhere
	profile bool     // each has a pprof listener
}

// A pair is two sidecars: the caller's and the callee's.
type pair struct {
	subject

	caller, callee *process
	home, run      string
	appPort        string
	callerPort     string // what PORT became
	callerProfile  string // addresses of the pprof listeners
	calleeProfile  string
}

// startPair starts two apps with their sidecars as a user does, in a home of
// their own.
func (b *bench) startPair(ctx context.Context, spec pairSpec) (*pair, error) {
	ports, err := freePorts(ctx, 10)
	if err != nil {
		return nil, err
	}
	p := &pair{
		appPort: ports[0], callerPort: ports[8],
		callerProfile: loopback + ":" + ports[6], calleeProfile: loopback + ":" + ports[7],
	}
	if err := b.newHome(p); err != nil {
		return nil, err
	}
	callee, caller := spec.commands(ports)
	p.callee, err = b.startSidecar(p, callee, b.self, "app", ports[0])
	if err != nil {
		return nil, err
	}
	callerApp := []string{b.self, "app", ports[5]}
	if spec.noPort {
		callerApp = []string{"sleep", "infinity"}
	}
	p.caller, err = b.startSidecar(p, caller, callerApp...)
	if err != nil {
		return nil, err
	}
	p.subject = subject{
		name: spec.name, proto: spec.proto, proxies: []*process{p.caller, p.callee},
		base:    "http://" + loopback + ":" + ports[3] + "/v1.0/invoke/" + calleeID + "/method",
		address: loopback + ":" + ports[4], metadata: map[string]string{"dapr-app-id": calleeID},
	}
	return p, p.caller.await(ctx, p.reachable)
}

// commands are the flags of both sidecars.
func (spec pairSpec) commands(ports []string) (callee, caller []string) {
	callee = []string{"--app-id", calleeID, "--app-port", ports[0], "--dapr-http-port", ports[1], "--dapr-grpc-port", ports[2]}
	if spec.proto == protoGRPC {
		callee = append(callee, "--app-protocol", "grpc")
	}
	caller = []string{"--app-id", "bench-caller", "--dapr-http-port", ports[3], "--dapr-grpc-port", ports[4]}
	if !spec.noPort {
		caller = append(caller, "--app-port", ports[5])
	}
	if spec.profile {
		caller = append(caller, "--enable-profiling", "--profile-port", ports[6])
		callee = append(callee, "--enable-profiling", "--profile-port", ports[7])
	}
	for _, f := range spec.flags {
		caller = append(caller, strings.ReplaceAll(f, "PORT", ports[8]))
		callee = append(callee, strings.ReplaceAll(f, "PORT", ports[9]))
	}
	return callee, caller
}

// newHome makes a home and a runtime folder for sidecars that know each other.
func (b *bench) newHome(p *pair) error {
	b.homes++
	p.home, p.run = filepath.Join(b.work, fmt.Sprintf("home%d", b.homes)), filepath.Join(b.work, fmt.Sprintf("run%d", b.homes))
	for _, dir := range []string{p.home, p.run} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// startSidecar starts `pillion run`; without an app, the sidecar alone.
func (b *bench) startSidecar(p *pair, flags []string, app ...string) (*process, error) {
	command := append([]string{b.pillion, "run"}, append(flags, b.o.runFlags...)...)
	if len(app) > 0 {
		command = append(append(command, "--"), app...)
	}
	return b.keep(start("pillion run "+flags[1], b.work, environ("HOME="+p.home, "PILLION_RUNTIME_DIR="+p.run), command...))
}

// reachable says if a call gets through to the app.
func (s *subject) reachable(ctx context.Context) error {
	if s.proto == protoHTTP {
		return answers(ctx, s.base+smallapp.Notify)
	}
	r, err := grpcload.Run(ctx, grpcload.Load{
		Address: s.address, Path: smallapp.Service + "Notify", Metadata: s.metadata,
		Connections: 1, Streams: 1, Duration: 50 * time.Millisecond,
	})
	if err == nil && r.Calls == 0 {
		err = fmt.Errorf("no call got through: %s", strings.TrimSpace(r.Cause))
	}
	return err
}
