package sidecar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/buildinfo"
	"github.com/pillion-dev/pillion/logs"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// What daprd's log says, and when: editors and scripts wait for these lines.

// The scopes of Dapr's log that lines of ours stand in.
const (
	scopeSecurity  = "dapr.runtime.security"
	scopeHTTP      = "dapr.runtime.http"
	scopeGRPC      = "dapr.runtime.grpc.api"
	scopeInternal  = "dapr.runtime.grpc.internal"
	scopeProcessor = "dapr.runtime.processor"
	scopeHealth    = "dapr.apphealth"
	scopeContrib   = "dapr.contrib"
	scopeHTTPLog   = "dapr.runtime.http-info"
	scopeGRPCLog   = "dapr.runtime.grpc.api-info"
)

const (
	// stillWaiting is how often a wait for the app is said.
	stillWaiting = 10 * time.Second
	// appConfigWait bounds the wait for the app's configuration, and
	// maxAppConfig what is read of it.
	appConfigWait = 30 * time.Second
	maxAppConfig  = 1 << 20
)

// openLog says where the sidecar's own records go: to Dapr's log, and to the
// run's own; without that they are notices.
func (s *sidecar) openLog() {
	if s.env.Records == nil {
		s.log = slog.New(logNotices{say: s.say, least: logLevel(s.cfg.LogLevel)})
		return
	}
	s.records = s.env.Records.Also(kept{s})
	s.calls = s.records.From(slog.LevelInfo)
	s.log = slog.New(s.records)
}

// kept writes records into the run's log.
type kept struct{ *sidecar }

func (k kept) Write(line []byte) (int, error) {
	if k.record != nil {
		k.record.Line(logs.Pillion, strings.TrimSuffix(string(line), "\n"))
	}
	return len(line), nil
}

// note writes a notice as a record.
func (s *sidecar) note(n Notice) {
	var attrs []slog.Attr
	if n.Cause != "" {
		attrs = append(attrs, slog.String("cause", n.Cause))
	}
	if n.Hint != "" {
		attrs = append(attrs, slog.String("hint", n.Hint))
	}
	level := slog.LevelInfo
	switch n.Kind {
	case Warning:
		level = slog.LevelWarn
	case Failed:
		level = slog.LevelError
	case Info, Good:
	}
	s.records.Say(level, "", strings.Join(slices.Concat([]string{n.Text}, n.Facts, n.More), ", "), attrs...)
}

// version is what we call ourselves where Dapr says its version.
func (s *sidecar) version() string {
	if s.cfg.Profile.AsDaprd {
		return buildinfo.DaprVersion()
	}
	return buildinfo.Version()
}

// daprdEnviron are the variables that daprd sets in its own process, for what
// reads them: resources and components.
func (s *sidecar) daprdEnviron() []string {
	if !s.cfg.Profile.AsDaprd {
		return nil
	}
	internal := s.cfg.MeshPort
	if internal == 0 {
		internal = s.stablePort()
	}
	return []string{
		"APP_ID=" + s.cfg.AppID,
		"APP_PORT=" + port(s.cfg.AppPort),
		"HOST_ADDRESS=" + hostAddr(s.cfg.HostIP).String(),
		"DAPR_PORT=" + port(internal),
		"DAPR_HTTP_PORT=" + port(s.cfg.HTTPPort),
		"DAPR_GRPC_PORT=" + port(s.cfg.GRPCPort),
		"DAPR_METRICS_PORT=" + port(s.cfg.MetricsPort),
		"DAPR_PROFILE_PORT=" + port(cmp.Or(s.cfg.ProfilePort, defaultProfilePort)),
	}
}

// sayListening says what is bound, in daprd's order. Whoever reads it can
// connect: it is all open.
func (s *sidecar) sayListening() {
	s.sayMesh()
	s.logf("standalone mode configured")
	s.logf("app id: " + s.cfg.AppID)
	s.logf("Initialized name resolution to " + strings.Join(announcing(s.cfg.Discovery), ", "))
	if s.cfg.ClearMesh() && s.net.multicast != nil {
		at := netip.AddrPortFrom(announcedAddr(s.cfg), listenPort(s.meshLn))
		s.records.Say(slog.LevelInfo, scopeContrib, "local service entry announced: "+s.cfg.AppID+" -> "+at.String())
	}
	for _, ln := range s.scrapes.listeners {
		s.logf("metrics server started on " + listenText(ln) + "/")
	}
	s.logf("Loading components…")
	for _, c := range s.resources.current().Components {
		if c.Unusable == "" {
			s.records.Say(slog.LevelInfo, scopeProcessor, "Component loaded: "+c.Name+" ("+c.Type+"/"+cmp.Or(c.Version, "v1")+")")
		}
	}
	s.logf("Waiting for all outstanding components to be processed…")
	s.logf("All outstanding components processed")
	s.logf("Loading endpoints…")
	s.sayDoor(s.grpc, scopeGRPC, "gRPC server", "API gRPC server")
	s.sayDoor(s.http, scopeHTTP, "HTTP server", "HTTP server")
	for _, ln := range s.public.listeners {
		s.records.Say(slog.LevelInfo, scopeHTTP, "Public HTTP server listening on TCP address: "+listenText(ln))
	}
	s.records.Say(slog.LevelInfo, scopeInternal, "gRPC server listening on TCP address: "+listenText(s.meshLn))
	s.logf("Internal gRPC server is running on " + s.cfg.InternalListenAddress + ":" + port(listenPort(s.meshLn)))
	if s.cfg.UnixDomainSocket == "" && len(s.cfg.ListenAddresses) == 0 {
		s.log.Warn("the APIs listen on all interfaces: who reaches this machine can call through them",
			"hint", "--dapr-listen-addresses 127.0.0.1 keeps them to this machine")
	}
}

// sayMesh says how sidecars of this one speak to each other.
func (s *sidecar) sayMesh() {
	if s.cfg.ClearMesh() {
		s.records.Say(slog.LevelWarn, scopeSecurity, "mTLS is disabled. Skipping certificate request and tls validation")
		return
	}
	if s.cfg.SentryAddress != "" || s.cfg.TrustAnchors != "" {
		s.records.Say(slog.LevelWarn, scopeSecurity, "another authority's certificates are not used: "+
			"this sidecar's come from its home's own authority, and only sidecars of that home can call it",
			slog.String("sentry", s.cfg.SentryAddress), slog.String("cause", "this version does not ask a Sentry on the network"))
	}
	s.records.Say(slog.LevelInfo, scopeSecurity, "Security is initialized successfully",
		slog.String("identity", s.workload.ID().String()))
}

// sayDoor says where a door listens, as Dapr's server and its runtime do.
func (s *sidecar) sayDoor(d door, scope, server, running string) {
	for _, ln := range d.listeners {
		if ln.Addr().Network() == "unix" {
			s.records.Say(slog.LevelInfo, scope, server+" listening on UNIX socket: "+ln.Addr().String())
			continue
		}
		s.records.Say(slog.LevelInfo, scope, server+" listening on TCP address: "+listenText(ln))
	}
	if d.port == 0 {
		s.logf(running + " is running on a Unix Domain Socket")
		return
	}
	s.logf(running + " is running on port " + port(d.port))
}

// listenText is a listener's address as Dapr writes it: without a host if it is
// on all of them.
func listenText(ln net.Listener) string {
	if addr, ok := ln.Addr().(*net.TCPAddr); ok && addr.IP.IsUnspecified() {
		return ":" + port(listenPort(ln))
	}
	return ln.Addr().String()
}

// logf writes one of Dapr's own sentences.
func (s *sidecar) logf(sentence string) {
	s.records.Say(slog.LevelInfo, "", sentence)
}

// initialise is what daprd does between its ports being open and its being
// ready: it waits for the app, and asks it for its configuration.
func (s *sidecar) initialise(ctx context.Context) error {
	s.sayListening()
	if s.cfg.AppPort != 0 {
		protocol := s.cfg.AppProtocol
		s.logf("application protocol: " + protocol + ". waiting on port " + port(s.cfg.AppPort) +
			".  This will block until the app is listening on that port.")
		if !s.awaitApp(ctx) {
			return nil
		}
		s.logf("application discovered on port " + port(s.cfg.AppPort))
		if n := s.cfg.AppMaxConcurrency; n > 0 {
			s.logf("app max concurrency set to " + strconv.Itoa(n))
		}
		if s.cfg.AppHealth.Check {
			s.records.Say(slog.LevelInfo, scopeHealth, "App health probes starting")
		} else {
			s.askConfiguration(ctx)
		}
	}
	if ctx.Err() == nil {
		s.initialised.Store(true)
		s.logf("dapr initialized. Status: Running. Init Elapsed " + strconv.Itoa(int(time.Since(s.began).Milliseconds())) + "ms")
	}
	if s.cfg.AppPort != 0 && s.cfg.AppHealth.Check {
		select {
		case <-s.answers:
			s.askConfiguration(ctx)
		case <-ctx.Done():
		}
	}
	<-ctx.Done()
	return nil
}

// awaitApp waits until the app's port has been open once; false if ctx ends
// first.
func (s *sidecar) awaitApp(ctx context.Context) bool {
	tick := time.NewTicker(stillWaiting)
	defer tick.Stop()
	for {
		select {
		case <-s.opened:
			return true
		case <-ctx.Done():
			return false
		case <-tick.C:
			s.logf("waiting for application to listen on port " + port(s.cfg.AppPort))
		}
	}
}

// askConfiguration asks the app for its configuration of actors, as daprd does
// once. There are no actors here, but apps may wait for the question.
func (s *sidecar) askConfiguration(ctx context.Context) {
	if s.speaksGRPC() {
		return // those are not asked
	}
	if slices.ContainsFunc(s.cfg.DisableInitEndpoints, func(name string) bool { return strings.EqualFold(name, config.InitConfig) }) {
		s.records.Say(slog.LevelWarn, "", "Skipping programmatic dapr configuration loading (see 'disable-init-endpoints' flag/annotation)")
		return
	}
	entities, err := s.appEntities(ctx)
	if err != nil {
		s.log.Debug("the app's configuration was not loaded", "err", err)
		return
	}
	s.logf("Application configuration loaded")
	if len(entities) > 0 {
		s.log.Warn("the app has actors, which this version does not have: they are not called", "entities", strings.Join(entities, ","))
	}
}

// appEntities are the actor types of the app. An app without the endpoint has
// none.
func (s *sidecar) appEntities(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, appConfigWait)
	defer cancel()
	answer, err := s.relay.Serve(ctx, &invoke.Call{
		Verb: http.MethodGet, Path: "/dapr/config", Major: 1, Caller: s.workload.ID(), Attempt: 1, Only: true,
		Fields: invoke.Fields{
			{Name: "Content-Type", Value: "application/json"}, {Name: "dapr-app-id", Value: s.cfg.AppID},
		},
	})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	if answer.Status != http.StatusOK {
		return nil, nil
	}
	var told struct {
		Entities []string `json:"entities"`
	}
	err = json.NewDecoder(io.LimitReader(answer.Body, maxAppConfig)).Decode(&told)
	if errors.Is(err, io.EOF) {
		err = nil // nothing was said
	}
	return told.Entities, err
}
