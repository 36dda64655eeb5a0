// Package app is the app as its sidecar sees it: where it listens, whether it
// can take a call, and the connections that carry calls to it. It holds calls
// while the app starts or restarts, keeps to its maximum of calls at once, and
// never repeats a call that the app may have seen.
package app

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A Config says what is known of the app beforehand. Its zero value is an app
// that only calls others.
type Config struct {
	// Name is the app's id, for messages.
	Name string
	// Protocol is http, https, h2c, grpc or grpcs. Empty: http.
	Protocol string
	// Address is the host the app listens on. Empty: the address it is seen to
	// listen on, 127.0.0.1, ::1.
	Address string
	// Port is where the app listens. Zero: found among its process tree's
	// sockets, or none if there is no Command.
	Port uint16
	// Command is true if we run the app's process. It is then alive until
	// Exited is called, and its first start may take up to StartHold.
	Command bool
	// MaxConcurrency bounds the calls the app gets at once; 0: no bound.
	MaxConcurrency int
	// Hold bounds the calls that wait for the app.
	Hold HoldLimits
	// StartHold is how long after its start callers wait for the app's first
	// readiness. Default 60s.
	StartHold time.Duration
	// Token is sent to the app as dapr-api-token. Never logged.
	Token string
	// Sockets are the listening TCP sockets of the app's process tree. Nil: not
	// known, so that nothing is detected.
	Sockets func() ([]Socket, error)
	// Processes are the names of the processes of the app's tree. They tell an
	// app that is still being compiled from one that opens no port. May be nil.
	Processes func() []string
	// Standard leaves HTTP/2 to the Go library, the reference for our own.
	Standard bool
	// Health is how it is asked whether it is well.
	Health Health
	// Events gets what happens, in order, from one goroutine of Run. May be
	// nil.
	Events func(Event)
	// Logger: nil discards.
	Logger *slog.Logger
}

// HoldLimits bound the calls that wait for the app. Zero fields have their
// defaults.
type HoldLimits struct {
	// Wait is how long one call may wait. Default 10s.
	Wait time.Duration
	// Calls is how many calls may wait. Default 1000.
	Calls int
	// Bytes is how much their heads and buffered bodies may take. Default
	// 16 MiB.
	Bytes int64
}

// A Socket is one listening TCP socket of the app's process tree.
type Socket struct {
	Addr netip.AddrPort
	PID  int
	// Name is the process's short name, Command its command line.
	Name    string
	Command string
}

// App is the app. It is an invoke.Handler, safe for concurrent use. Run must
// be running for the app to become ready.
type App struct {
	cfg    Config
	log    *slog.Logger
	gate   *gate
	slots  *slots
	place  *place
	pool   *pool
	links  linkage
	crew   *crew
	events *events
	well   atomic.Bool   // it said so when it was last asked
	sick   chan struct{} // wakes who asks
	open   atomic.Int64  // calls until their answer's body has ended
}

var _ invoke.Handler = (*App)(nil)

// New returns the app that cfg describes. It starts nothing and dials nothing.
func New(cfg Config) *App {
	cfg = withDefaults(cfg)
	a := &App{
		cfg:    cfg,
		log:    cfg.Logger,
		slots:  &slots{max: cfg.MaxConcurrency},
		place:  newPlace(cfg),
		crew:   new(crew),
		sick:   make(chan struct{}, 1),
		events: newEvents(cfg.Events),
	}
	a.gate = newGate(cfg, a.stateChanged)
	a.pool = newPool(a.place, a.crew)
	a.links = newLinks(a.place, a.crew)
	if cfg.Standard {
		a.links = newStdLinks(a.place, a.crew)
	}
	if cfg.Port == 0 && !cfg.Command {
		// From the beginning, so that no change of state is told.
		a.gate.phase, a.gate.deny, a.gate.told = client, a.errNoPort(nil), states[client]
	}
	return a
}

func withDefaults(cfg Config) Config {
	if cfg.Protocol == "" {
		cfg.Protocol = protoHTTP
	}
	if cfg.Hold.Wait <= 0 {
		cfg.Hold.Wait = 10 * time.Second
	}
	if cfg.Hold.Calls <= 0 {
		cfg.Hold.Calls = 1000
	}
	if cfg.Hold.Bytes <= 0 {
		cfg.Hold.Bytes = 16 << 20
	}
	if cfg.StartHold <= 0 {
		cfg.StartHold = 60 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// carry takes the call through hold and concurrency to the app; with through
// it has passed the hold. A refused connection proves that the app saw nothing,
// so the call goes back to its place in the queue.
func (a *App) carry(ctx context.Context, h *handover, through bool) (*invoke.Answer, error) {
	for {
		if !through {
			if err := a.wait(ctx, h); err != nil {
				return nil, err
			}
		}
		through = false
		ans, err := a.take(ctx, h)
		if err == nil {
			a.gate.pass(&h.ticket)
			a.note(h, ans)
			return ans, nil
		}
		refused, closed := errors.AsType[*closedError](err)
		if closed {
			a.log.Debug("app port closed", "app", a.cfg.Name, "err", err)
			if refused.spot == a.place.spot() {
				a.gate.lost()
			}
		}
		a.gate.pass(&h.ticket)
		if !closed {
			return nil, err
		}
	}
}

// wait holds the call until the app may get it.
func (a *App) wait(ctx context.Context, h *handover) error {
	head, body := holdCost(h.call)
	h.ticket.call, h.ticket.cost, h.ticket.only = h.call, head+body, h.call.Only
	waits := time.Now()
	err := a.gate.enter(ctx, &h.ticket)
	if waited := time.Since(waits); waited > time.Millisecond {
		h.held += waited
	}
	return err
}

// take waits for a slot and makes the exchange. The slot is held until the
// answer's body has ended.
func (a *App) take(ctx context.Context, h *handover) (*invoke.Answer, error) {
	if err := a.slots.acquire(ctx, func() { a.gate.pass(&h.ticket) }); err != nil {
		return nil, err
	}
	h.sent = time.Now()
	ans, err := a.exchange(ctx, h)
	if err != nil {
		a.slots.release()
	}
	return ans, err
}

// exchange picks the codec: what the protocol demands, or for https what the
// app chose in its handshake.
func (a *App) exchange(ctx context.Context, h *handover) (*invoke.Answer, error) {
	if a.place.speaksHTTP2() {
		return a.links.exchange(ctx, h)
	}
	ans, err := a.pool.exchange(ctx, h)
	if err == errChoseHTTP2 { //nolint:errorlint // our own sentinel, never wrapped
		a.place.choseHTTP2.Store(true)
		return a.links.exchange(ctx, h)
	}
	return ans, err
}

func (a *App) note(h *handover, ans *invoke.Answer) {
	ans.Attempts = max(h.call.Attempt, 1)
	if timing := h.call.Timing; timing != nil {
		timing.Held += h.held
		timing.App = time.Since(h.sent)
	}
}

// State is how far the app is, as its instance announces it.
func (a *App) State() discovery.State { return a.gate.state() }

// Port is where the app listens; 0 if that is not known.
func (a *App) Port() uint16 { return a.place.port() }

// Inflight is how many calls the app has or will get: from Serve until the
// answer's body has ended.
func (a *App) Inflight() int { return int(a.open.Load()) }

// Held is how many calls wait for the app to be ready.
func (a *App) Held() int { return a.gate.held() }

// Stale is how many calls met an HTTP/1.1 connection that the app closed in the
// moment it was used.
func (a *App) Stale() int { return int(a.pool.stale.Load()) }

// Exited says that the app's process has ended; status says how, in the words
// of a sentence such as "exit status 1". Calls that wait fail at once, and so
// does every later one until Restarting or Started.
func (a *App) Exited(status string) {
	a.well.Store(false) // the next process is another patient
	a.gate.set(exited, a.errExited(status))
	a.events.wake()
}

// Failed says that there is no process of the app, and none is started before
// somebody has done something: calls are answered with that and with why at once.
// Otherwise it is Exited.
func (a *App) Failed(why string) {
	a.well.Store(false)
	a.gate.set(failed, a.errFailed(why))
	a.events.wake()
}

// Building says that the app's first process is yet to be made: calls wait as for
// one that starts, and nothing is dialled until Started.
func (a *App) Building() { a.gate.set(building, nil) }

// Restarting says that the app will be started anew: calls wait for it, and
// nothing is dialled until Started. Calls that the app has stay with it.
func (a *App) Restarting() {
	a.well.Store(false)
	a.gate.set(restarting, nil)
	a.events.wake()
}

// Quiet waits after Restarting until no call that the app has waits for its
// answer's head, or returns ctx's cause. Answers that have begun have a moment to
// end; those that stream and upgrades are not waited for.
func (a *App) Quiet(ctx context.Context) error {
	err := a.gate.quiet(ctx)
	a.linger(ctx)
	return err
}

// Started says that a new process of the app runs.
func (a *App) Started() {
	a.gate.started()
	a.events.wake()
}

// Drain says that the app will be stopped. Calls that wait for it to become
// ready are refused at once; others are served. It returns when no call waits
// for its answer's head, or with ctx's cause; answers that have begun have a
// moment to end, and those that stream and upgrades do not delay it. From then
// on calls are refused, so that the app may be signalled.
func (a *App) Drain(ctx context.Context) error {
	err := a.gate.drain(ctx)
	a.linger(ctx)
	return err
}

const (
	// lingerFor is how long an answer that has begun may take to end before the
	// app is signalled: most do at once, and who streams does not.
	lingerFor  = 300 * time.Millisecond
	lingerLook = 2 * time.Millisecond
)

// linger waits a moment for the answers that have begun.
func (a *App) linger(ctx context.Context) {
	if a.streaming() <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lingerFor)
	defer cancel()
	look := time.NewTicker(lingerLook)
	defer look.Stop()
	for a.streaming() > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// streaming is how many calls have the head of their answer and not its end.
func (a *App) streaming() int { return int(a.open.Load()) - a.gate.unanswered() }

func (a *App) stateChanged(s discovery.State) {
	a.events.add(StateChanged{State: s})
}

// closeBody ends a call's body at once.
func closeBody(c *invoke.Call) {
	if c.Body != nil {
		_ = c.Body.Close() // there is nobody left to tell
	}
}
