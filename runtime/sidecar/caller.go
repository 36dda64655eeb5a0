package sidecar

import (
	"context"
	"log/slog"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/lifecycle"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
	"github.com/pillion-dev/pillion/tls/mtls"
	"github.com/pillion-dev/pillion/tls/sentry"
)

// A Caller calls apps through the mesh without being one: `pillion invoke`. It
// has an identity of its own, finds apps as a sidecar does, and is not
// announced.
type Caller struct {
	network *network
	self    identity.ID
	cancel  context.CancelFunc
	ended   chan error
}

// NewCaller makes a caller called cfg.AppID in cfg.Namespace; of the rest of
// cfg, what concerns discovery and waiting counts. It makes the home's
// authority if there is none. Close it.
func NewCaller(ctx context.Context, cfg config.Sidecar, env Env) (*Caller, error) {
	cfg = withDefaults(cfg)
	log := slog.New(slog.DiscardHandler)
	if env.Say != nil {
		log = slog.New(logNotices{say: env.Say, least: logLevel(cfg.LogLevel)})
	}
	where, err := openPlace(ctx, env.Home, lookupIn(env.Environ), log)
	if err != nil {
		return nil, err
	}
	id, err := identity.New(where.authority.TrustDomain(), cfg.Namespace, cfg.AppID)
	if err != nil {
		return nil, &apperr.Error{Reason: apperr.Usage, What: err.Error(), Err: err}
	}
	workload, err := mtls.NewWorkload(ctx, mtls.Config{
		ID: id, Sentry: sentry.NewLocal(where.authority, ca.LeafTTL), Logger: log,
	})
	if err != nil {
		return nil, err
	}
	warn := func(problem string) {
		if env.Say != nil {
			env.Say(Notice{Kind: Warning, Text: problem})
		}
	}
	n, err := newNetwork(networkOptions{
		cfg: cfg, place: where, workload: workload, log: log, warn: warn, eitherWay: true,
		endpoints: endpointsOf(cfg, env.Home, lookupIn(env.Environ), warn),
	})
	if err != nil {
		return nil, err
	}
	parts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Caller{network: n, self: id, cancel: cancel, ended: make(chan error, 1)}
	tasks := append(n.tasks(), lifecycle.Task{Name: "certificates", Run: workload.Run})
	go func() { c.ended <- lifecycle.Run(parts, tasks...) }()
	return c, nil
}

// Self is who calls.
func (c *Caller) Self() identity.ID { return c.self }

// Serve carries out a call, as invoke.Handler has it.
func (c *Caller) Serve(ctx context.Context, call *invoke.Call) (*invoke.Answer, error) {
	return c.network.invoker.Serve(ctx, call)
}

// Close ends the caller and waits for its parts. Answers still being read end
// with it.
func (c *Caller) Close() error {
	c.network.close()
	c.cancel()
	return <-c.ended
}
