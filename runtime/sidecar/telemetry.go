package sidecar

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/lifecycle"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/grpcapi"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/telemetry"
	"github.com/pillion-dev/pillion/tls/identity"
)

// traceFlush bounds the wait for the last spans to be delivered, leastFlush is
// what they get if the grace period is over.
const (
	traceFlush = 2 * time.Second
	leastFlush = 500 * time.Millisecond
)

// traceScope is where Dapr's log says its spans.
const traceScope = "dapr.runtime.trace"

// observe makes what tells of the calls. What is off is not made, and has no
// stage.
func (s *sidecar) observe(ctx context.Context, spec config.Configuration) error {
	getenv := lookupIn(s.env.Environ)
	tracing, err := telemetry.WithEnvironment(spec.Tracing, getenv)
	if err != nil {
		return err
	}
	o := telemetry.Tracing{
		Config: tracing, AppID: s.cfg.AppID, Getenv: getenv,
		Line:    s.saySpan,
		Problem: func(what, cause string) { s.say(Notice{Kind: Warning, Text: what, Cause: cause}) },
	}
	if o.On() {
		if s.tracer, err = telemetry.NewTracer(ctx, o); err != nil {
			return err
		}
	}
	return s.count(spec.Metrics)
}

// saySpan writes the line of a span into Dapr's log, or says it in its form.
func (s *sidecar) saySpan(line string) {
	if s.records != nil {
		s.records.Say(slog.LevelInfo, traceScope, line)
		return
	}
	s.say(Notice{Record: true, Text: "level=info msg=" + strconv.Quote(line) + " app_id=" + s.cfg.AppID + " scope=" + traceScope + " type=log"})
}

// bindMetrics opens the listener of the metrics: on loopback, as the doors, or
// where daprd's flag says.
func (s *sidecar) bindMetrics(ctx context.Context) error {
	if !s.cfg.Metrics {
		return nil
	}
	var err error
	if s.cfg.Profile.LoopbackDoors {
		s.scrapes, err = bindLoopback(ctx, s.cfg.MetricsPort)
	} else {
		var ln net.Listener
		ln, err = new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(s.cfg.MetricsListenAddress, port(s.cfg.MetricsPort)))
		if err == nil {
			s.scrapes = door{port: listenPort(ln), listeners: []net.Listener{ln}}
		}
	}
	if err != nil {
		return s.taken(err, s.cfg.MetricsPort, "--metrics-port")
	}
	s.cfg.MetricsPort = s.scrapes.port
	return nil
}

// count makes the metrics, unless the Configuration switches them off.
func (s *sidecar) count(spec config.Metrics) error {
	if !s.cfg.Metrics || spec.Enabled != nil && !*spec.Enabled {
		s.scrapes.close()
		s.scrapes, s.cfg.Metrics = door{}, false
		return nil
	}
	var err error
	s.metrics, err = telemetry.NewMetrics(telemetry.Counting{Config: spec, AppID: s.cfg.AppID, Namespace: s.cfg.Namespace})
	if err != nil {
		return err
	}
	if s.cfg.Profile.SecureMesh || s.cfg.EnableMTLS {
		s.metrics.CertificateMade("") // without one we would not be here
	}
	for _, r := range s.readings() {
		if err := s.metrics.Watch(r); err != nil {
			return err
		}
	}
	return s.registration.Update(func(e *rundir.Entry) { e.MetricsPort = s.scrapes.port })
}

// readings are what is counted elsewhere.
func (s *sidecar) readings() []telemetry.Reading {
	record := s.record // it outlives the run
	engine := func(name string, read func(httpapi.Counts) uint64) telemetry.Reading {
		return telemetry.Reading{
			Name: "requests_total", Help: "Requests at the doors, by who has read them.", Label: "engine", Value: name,
			Read: func() float64 { return float64(read(s.doors.Counts())) },
		}
	}
	caller := func(name, help string, read func(invoke.Counts) float64) telemetry.Reading {
		return telemetry.Reading{Name: name, Help: help, Read: func() float64 { return read(s.net.invoker.Counts()) }}
	}
	return []telemetry.Reading{
		caller("repeats_total", "Attempts made again without a policy, though an app may have had the call.",
			func(c invoke.Counts) float64 { return float64(c.Repeats) }),
		caller("repeats_refused_total", "Attempts that were not made again, because too many had been.",
			func(c invoke.Counts) float64 { return float64(c.RepeatsRefused) }),
		caller("ejections_total", "How often an instance of another app was left out because it failed.",
			func(c invoke.Counts) float64 { return float64(c.Ejections) }),
		caller("instances_ejected", "Instances of other apps that are left out now.",
			func(c invoke.Counts) float64 { return float64(c.Out) }),
		engine("fast", func(c httpapi.Counts) uint64 { return c.Fast }),
		engine("http2", func(c httpapi.Counts) uint64 { return c.HTTP2 }),
		engine("standard", func(c httpapi.Counts) uint64 { return c.Standard }),
		engine("refused", func(c httpapi.Counts) uint64 { return c.Refused }),
		{
			Name: "calls_in_flight", Help: "Calls that the app has or will get.",
			Read: func() float64 { return float64(s.app().Inflight()) },
		},
		{
			Name: "calls_held", Help: "Calls that wait for the app to be ready.",
			Read: func() float64 { return float64(s.app().Held()) },
		},
		{
			Name: "app_restarts_total", Help: "How often the app's process was replaced.",
			Read: func() float64 { return float64(s.replaced.Load()) },
		},
		{
			Name: "log_lines_lost_total", Help: "Lines of the app that could not be kept.",
			Read: func() float64 { return float64(record.Lost()) },
		},
		{
			Name: "app_stale_connections_total", Help: "Calls that met a connection which the app closed in that moment.",
			Read: func() float64 { return float64(s.app().Stale()) },
		},
	}
}

// metricsTasks serve the metrics until the sidecar ends.
func (s *sidecar) metricsTasks() []lifecycle.Task {
	var h http.Handler = s.metrics
	if s.cfg.Profile.LoopbackDoors {
		h = forThisMachine(h, "metrics")
	}
	var tasks []lifecycle.Task
	for _, ln := range s.scrapes.listeners {
		tasks = append(tasks, lifecycle.Task{Name: "metrics " + ln.Addr().String(), Run: func(ctx context.Context) error {
			return serveBeside(ctx, ln, h, "metrics")
		}})
	}
	return tasks
}

// judged counts what the access rules decide.
func (s *sidecar) judged(caller identity.ID, byApp, allowed bool) {
	s.metrics.Access(telemetry.Decision{
		App: caller.App(), TrustDomain: caller.TrustDomain(), Namespace: caller.Namespace(), ByApp: byApp, Allowed: allowed,
	})
}

// certified counts the renewals of the certificate.
func (s *sidecar) certified(err error) {
	reason := ""
	if err != nil {
		reason = string(apperr.From(err).Reason)
	}
	s.metrics.CertificateRenewed(reason)
}

// callerStages are what tells of the calls that the own app makes.
func (s *sidecar) callerStages() []invoke.Stage {
	var stages []invoke.Stage
	if s.tracer != nil {
		stages = append(stages, s.traceCaller)
	}
	if s.metrics != nil {
		stages = append(stages, s.measureCaller)
	}
	return stages
}

// calleeStages are what tells of the calls that the own app is given.
func (s *sidecar) calleeStages() []invoke.Stage {
	var stages []invoke.Stage
	if s.tracer != nil {
		stages = append(stages, s.traceCallee)
	}
	if s.metrics != nil {
		stages = append(stages, s.measureCallee)
	}
	return stages
}

// ownTrace is traceOwn, where there is tracing.
func (s *sidecar) ownTrace() func(*http.Request, time.Time, http.Header) func(int) {
	if s.tracer == nil {
		return nil
	}
	return s.traceOwn
}

// served is countServed, where there are metrics.
func (s *sidecar) served() func(httpapi.Served) {
	if s.metrics == nil {
		return nil
	}
	return s.countServed
}

// countFailed counts errors by their code, where the Configuration wants it.
func (s *sidecar) countFailed() func(string) {
	if !s.metrics.RecordsErrorCodes() {
		return nil
	}
	return s.metrics.ErrorCode
}

// grpcServed counts the methods of Dapr's own service, where there are metrics.
func (s *sidecar) grpcServed() func(grpcapi.Served) {
	if s.metrics == nil {
		return nil
	}
	return func(one grpcapi.Served) {
		s.metrics.GRPCServer(telemetry.RPC{
			Method: one.Method, Code: int(one.Code), Sent: one.Received, Received: one.Sent, Took: one.Took,
		})
		if isDaprs(one.Reason) {
			s.metrics.ErrorCode(one.Reason)
		}
	}
}

// isDaprs reports whether a reason is one of Dapr's error codes.
func isDaprs(reason string) bool {
	return strings.HasPrefix(reason, "DAPR_") || strings.HasPrefix(reason, "ERR_")
}

// closeTracer delivers the last spans. It may be called twice.
func (s *sidecar) closeTracer(ctx context.Context) {
	if s.tracer == nil {
		return
	}
	wait := traceFlush
	if !s.halted.IsZero() {
		wait = min(wait, max(s.cfg.Grace-time.Since(s.halted), leastFlush))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	if err := s.tracer.Close(ctx); err != nil {
		s.log.Debug("not all spans delivered", "err", err)
	}
}
