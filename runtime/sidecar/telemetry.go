package sidecar

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/telemetry"
)

// traceFlush bounds the wait for the last spans to be delivered.
const traceFlush = 2 * time.Second

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
		Line: func(line string) {
			s.say(Notice{Record: true, Text: "level=info msg=" + strconv.Quote(line) + " app_id=" + s.cfg.AppID + " scope=" + traceScope + " type=log"})
		},
		Problem: func(what, cause string) { s.say(Notice{Kind: Warning, Text: what, Cause: cause}) },
	}
	if o.On() {
		s.tracer, err = telemetry.NewTracer(ctx, o)
	}
	return err
}

// callerStages are what tells of the calls that the own app makes.
func (s *sidecar) callerStages() []invoke.Stage {
	var stages []invoke.Stage
	if s.tracer != nil {
		stages = append(stages, s.traceCaller)
	}
	return stages
}

// calleeStages are what tells of the calls that the own app is given.
func (s *sidecar) calleeStages() []invoke.Stage {
	var stages []invoke.Stage
	if s.tracer != nil {
		stages = append(stages, s.traceCallee)
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

// closeTracer delivers the last spans. It may be called twice.
func (s *sidecar) closeTracer(ctx context.Context) {
	if s.tracer == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceFlush)
	defer cancel()
	if err := s.tracer.Close(ctx); err != nil {
		s.log.Debug("not all spans delivered", "err", err)
	}
}
