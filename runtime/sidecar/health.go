package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/callback"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// maxHealth is what is read of the answer to a health check.
const maxHealth = 64 << 10

// health is how the app is asked whether it is well, as Dapr asks.
func (s *sidecar) health() app.Health {
	if !s.cfg.AppHealth.Check {
		return app.Health{}
	}
	h := s.cfg.AppHealth.WithDefaults()
	health := app.Health{Interval: h.Interval, Timeout: h.Timeout, Threshold: h.Threshold, Ask: s.askGRPC}
	if !s.speaksGRPC() {
		path := "/" + strings.TrimPrefix(h.Path, "/")
		health.Ask = func(ctx context.Context, to invoke.Handler) error { return s.askHTTP(ctx, to, path) }
	}
	return health
}

// askHTTP takes any 2xx for good.
func (s *sidecar) askHTTP(ctx context.Context, to invoke.Handler, path string) error {
	began := time.Now()
	answer, err := to.Serve(ctx, &invoke.Call{
		Verb: http.MethodGet, Path: path, Major: 1, Caller: s.workload.ID(), Attempt: 1, Only: true,
	})
	if err != nil {
		s.metrics.HTTPProbe(http.StatusInternalServerError, time.Since(began))
		return fmt.Errorf("no answer to GET %s: %w", path, err)
	}
	defer answer.Body.Close()                                          //nolint:errcheck // only its status counts
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxHealth)) // so that the connection is good for the next one
	s.metrics.HTTPProbe(answer.Status, time.Since(began))
	if answer.Status < 200 || answer.Status > 299 {
		return fmt.Errorf("GET %s answered %d", path, answer.Status)
	}
	return nil
}

func (s *sidecar) askGRPC(ctx context.Context, to invoke.Handler) error {
	began := time.Now()
	err := callback.Health(ctx, to)
	code := rpc.OK
	if status, ok := errors.AsType[*rpc.Status](err); ok {
		code = int(status.Code)
	} else if err != nil {
		code = int(apperr.From(err).Reason.GRPC())
	}
	s.metrics.GRPCProbe(code, time.Since(began))
	return err
}

// heardHealth says how the app is now.
func (s *sidecar) heardHealth(event app.Event) {
	switch e := event.(type) {
	case app.Healthy:
		if s.cfg.Profile.AsDaprd {
			s.records.Say(slog.LevelInfo, scopeHealth, "App entered healthy status")
			return
		}
		s.say(Notice{Kind: Good, Text: s.cfg.AppID + " says it is healthy"})
	case app.Unhealthy:
		n := Notice{
			Kind: Warning, Text: fmt.Sprintf("%s is not healthy: its health check failed %d times in a row", s.cfg.AppID, e.Failures),
			Cause: e.Why.Error(),
		}
		if s.cfg.Profile.AsDaprd {
			n.Text = fmt.Sprintf("App entered un-healthy status: App health check failed %d times", e.Failures)
		}
		s.say(n)
	}
}
