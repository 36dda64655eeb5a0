// Package sidecar is the composition root: it wires an app, its doors, the
// mesh, discovery, identity and the logs into one process, and takes them down
// again in order. It is the only package that knows every driver.
package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/daprlog"
	"github.com/pillion-dev/pillion/internal/lifecycle"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/logs"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/filewatch"
	"github.com/pillion-dev/pillion/runtime/grpcapi"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/instance"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/secrets"
	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/telemetry"
	"github.com/pillion-dev/pillion/tls/mtls"
)

// Env is what a sidecar gets from the process it runs in.
type Env struct {
	// Own is true if the process is there for this sidecar alone: its cores
	// and its garbage collection are set for it then.
	Own bool
	// Home is the folder of authority, logs and configuration.
	Home config.Home
	// Environ is the environment, as os.Environ has it.
	Environ []string
	// In is the app's standard input; Out and Err take its output. Terminal
	// is ours if both outputs are the same one.
	In       io.Reader
	Out, Err io.Writer
	Terminal *os.File
	// Say gets the few lines about the sidecar itself. It must not block for
	// long and may be called from several goroutines.
	Say func(Notice)
	// Records is Dapr's log, for a profile that has it: all that is said of the
	// sidecar then goes there. Nil: to Say.
	Records *daprlog.Handler
	// Hurry is closed when the person does not want to wait any longer. Nil:
	// never.
	Hurry <-chan struct{}
	// Margin is how many columns of Terminal are not the app's. Job says that
	// suspending the process's job suspends the app, too; one app of a process
	// may have it.
	Margin int
	Job    bool
	// Watch is told how the run goes.
	Watch Watch
	// Expected are apps that are known to come: calls wait for them.
	Expected []discovery.Key
	// Files watches files for everybody in the process; who gives it runs it.
	// Nil: the sidecar has one of its own.
	Files *filewatch.Watcher
}

// A Watch is who is told how a run goes: its functions are called in order,
// must not block for long, and may be nil.
type Watch struct {
	// Bound is called once the sidecar's ports are its own.
	Bound func(Ports)
	// State is called with each new state of the app's.
	State func(discovery.State)
	// Stale is called with why what runs is not the newest source, and with ""
	// once it is again.
	Stale func(why string)
	// Ended is called when nothing is left of the app.
	Ended func(End)
}

// Ports are a sidecar's doors.
type Ports struct{ HTTP, GRPC uint16 }

// An End is how an app ended.
type End struct {
	// Exit is its status, Status the same in words: exit 1.
	Exit   int
	Status string
	// Itself is true if nobody had asked it to.
	Itself bool
	Ran    time.Duration
}

// Run runs cfg's app with its sidecar until the app ends, ctx ends, or somebody
// stops the instance, and returns the app's exit status. When ctx ends it stops
// gracefully first, within cfg.Grace. It returns an error only for a failure of
// the sidecar's own; nothing is left running then either.
func Run(ctx context.Context, cfg config.Sidecar, env Env) (exit int, err error) {
	s := &sidecar{
		cfg: withDefaults(cfg), env: env, began: time.Now(), requests: make(chan bool, 4),
		renewals: make(chan renewal), noRenewal: make(chan struct{}), rooms: make(chan *room, 1),
		retiring: make(chan struct{}, 1),
		opened:   make(chan struct{}), answers: make(chan struct{}), ward: ward{shut: make(chan struct{})},
	}
	s.env.Environ = append(slices.Clone(env.Environ), s.daprdEnviron()...)
	s.openLog()
	defer s.release(ctx)
	for _, step := range []func(context.Context) error{
		s.readResources, s.prepare, s.follow, s.bind, s.identify, s.register, s.keep, s.wire, s.launch,
	} {
		if err := step(ctx); err != nil {
			s.keepFailure(apperr.From(err))
			return 0, err
		}
	}
	return s.serve(ctx)
}

// partsEnd bounds the wait for the sidecar's own parts when nothing is left of the
// app. Each of them has bounds of its own, which are far within this one.
const partsEnd = 30 * time.Second

// A sidecar is one run: what Run builds step by step. Everything is set before
// serve starts the first goroutine, but for what says otherwise.
type sidecar struct {
	cfg   config.Sidecar
	env   Env
	log   *slog.Logger
	began time.Time
	// records is Dapr's log, and calls the same for calls, which --log-level
	// does not silence. Nil where there is none.
	records, calls *daprlog.Handler

	place     *place // home, authority and runtime folder
	resources *resourceKeeper
	watcher   *filewatch.Watcher // our own; nil if there is nothing to watch, or another's
	unwatch   func()             // nil before

	http, grpc door
	pprof      door      // empty unless profiling was asked for
	public     door      // empty unless there is a port for health and metadata
	scrapes    door      // empty unless metrics are served
	claim      io.Closer // to the app's port, the first room's; nil if we have not chosen it
	meshLn     net.Listener
	meshSocket net.Listener // the same for callers on this machine; nil without

	workload     *mtls.Workload
	registration *rundir.Registration
	record       *logs.Run // nil if the logs cannot be kept

	tracer  *telemetry.Tracer  // nil: nobody traces
	metrics *telemetry.Metrics // nil: nobody counts
	taps    invoke.Taps        // who reads the app's calls
	net     *network
	server  meshServer
	relay   *app.Relay // to the current room's app
	current atomic.Pointer[room]
	rooms   chan *room // those whose app is to run
	secrets secrets.Block
	doors   *httpapi.Server
	ward    ward
	service *grpcapi.Server
	state   *state.Block

	ready   atomic.Bool // the app could be called at least once
	reached atomic.Bool // its port was open at least once
	// opened is closed when its port has been open, and answers when it could be
	// called, for the first time.
	opened, answers chan struct{}
	// initialised is set once everything is there that daprd waits for.
	initialised atomic.Bool
	puzzled     atomic.Bool  // a warning said why it cannot be called
	stopped     atomic.Bool  // the stopping has begun
	presses     atomic.Int32 // of the terminal's keys that are ours

	publishing sync.Mutex // held while the state is told

	// requests asks the conductor to stop; true means at once. renewals ask it
	// for a new process, until ending is closed.
	requests  chan bool
	renewals  chan renewal
	noRenewal chan struct{}
	replaced  atomic.Int64 // how often there was one
	// succeeded has a process that another has replaced stopped, beside all else:
	// retiring holds the one at a time until it has ended. cutRetired has it killed.
	succeeded  func(*room)
	retiring   chan struct{}
	cutRetired func()
	sources    watchedSources
	// discardable is true while what the renewal under way makes is of no use any
	// more if the sources change.
	discardable atomic.Bool
	unbuilt     bool      // the last build failed; the renewal's that is under way
	halted      time.Time // the conductor's, as is outcome
	outcome     outcome
	late        bool // parts have not ended with the others, and are not waited for
	ending      ending
}

func withDefaults(cfg config.Sidecar) config.Sidecar {
	if cfg.Profile == (config.Profile{}) {
		cfg.Profile = config.RunProfile()
	}
	if cfg.Namespace == "" {
		cfg.Namespace = defaultNamespace
	}
	if len(cfg.Discovery) == 0 {
		cfg.Discovery = []string{sourceLocal, sourceMDNS, sourceStatic}
	}
	for value, fallback := range map[*time.Duration]time.Duration{
		&cfg.ResolveTimeout: config.DefaultResolveTimeout,
		&cfg.Hold:           config.DefaultHold,
		&cfg.StartHold:      config.DefaultStartHold,
		&cfg.Grace:          config.DefaultGrace,
	} {
		if *value == 0 {
			*value = fallback
		}
	}
	return cfg
}

// serve runs all parts until the conductor returns, which is when the app has
// ended. The parts outlive ctx: its end begins the stopping, in which the app
// may still call others; the conductor bounds that by the grace period.
func (s *sidecar) serve(ctx context.Context) (int, error) {
	tasks := []lifecycle.Task{
		{Name: "conductor", Run: func(parts context.Context) error { return s.conduct(ctx, parts) }},
		{Name: "mesh", Run: func(parts context.Context) error { return s.server.Serve(parts, s.meshLn) }},
		{Name: "certificates", Run: s.workload.Run},
		{Name: "app", Run: s.runRooms},
		{Name: "control", Run: func(parts context.Context) error {
			return instance.Serve(parts, s.registration, s)
		}},
		{Name: "entry", Run: s.registration.Run},
		{Name: "expiry", Run: s.noteExpiry},
		{Name: "log", Run: s.watchLog},
	}
	if s.meshSocket != nil {
		tasks = append(tasks, lifecycle.Task{Name: "mesh socket", Run: func(parts context.Context) error {
			return s.server.Serve(parts, s.meshSocket)
		}})
	}
	tasks = append(tasks, s.doorTasks()...)
	if s.cfg.Profile.AsDaprd {
		tasks = append(tasks, lifecycle.Task{Name: "start", Run: s.initialise})
	}
	tasks = append(tasks, s.profilingTasks()...)
	tasks = append(tasks, s.metricsTasks()...)
	tasks = append(tasks, s.net.tasks()...)
	tasks = append(tasks, s.watchTasks()...)
	if s.env.Own {
		tasks = append(tasks, lifecycle.Task{Name: "process", Run: func(parts context.Context) error {
			return Tune(parts, s.env.Environ)
		}})
	}
	err := lifecycle.RunWithin(context.WithoutCancel(ctx), partsEnd, tasks...)
	if late, ok := errors.AsType[*lifecycle.LateError](err); ok {
		// A fault of ours, which must not keep a person's terminal.
		s.say(Notice{
			Kind: Warning, Text: s.cfg.AppID + "'s sidecar did not end by itself",
			Cause: fmt.Sprintf("%v after the app's end there is still: %s", late.After, strings.Join(late.Tasks, ", ")),
		})
		s.late = true
		err = late.Err
	} else {
		s.ward.watching.Wait()
	}
	s.closeTracer(ctx)
	s.closeRecord(ctx)
	return s.outcome.exit, err
}

// release gives back what the steps took, also after one that failed half-way.
// What serve ran has closed its own by then; closing twice is harmless.
func (s *sidecar) release(ctx context.Context) {
	if s.unwatch != nil {
		s.unwatch()
	}
	s.sources.close()
	switch r := s.current.Load(); {
	case r != nil:
		r.leave()
	case s.claim != nil:
		_ = s.claim.Close() // it did not come to a room
	}
	if p := s.process(); p != nil {
		_ = p.Kill() // nothing is left of it, unless serve never ran
	}
	if s.net != nil && !s.late {
		s.net.close() // waits for what is on the links
	}
	if s.service != nil {
		s.service.Close()
	}
	s.closeState(ctx)
	s.pprof.close()
	s.public.close()
	s.scrapes.close()
	s.closeTracer(ctx)
	for _, ln := range append(append([]net.Listener{s.meshLn, s.meshSocket}, s.http.listeners...), s.grpc.listeners...) {
		if ln != nil {
			_ = ln.Close() // closed by who served it
		}
	}
	s.closeRecord(ctx)
	if s.registration != nil {
		_ = s.registration.Close() // its lock goes with the process in any case
	}
}

// say tells the person, and the run's log.
func (s *sidecar) say(n Notice) {
	if s.env.Records != nil {
		s.note(n)
		return
	}
	if s.record != nil {
		s.record.Line(logs.Pillion, n.String())
	}
	if s.env.Say != nil {
		s.env.Say(n)
	}
}

// publish tells everybody who may ask how far the app is now. It reads the
// state itself, one caller at a time, so that the last one to write writes what
// is true last.
func (s *sidecar) publish() {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	now := s.app().State()
	if s.stopped.Load() {
		now = discovery.Draining
	}
	s.server.SetState(now)
	port := s.app().Port()
	err := s.registration.Update(func(e *rundir.Entry) {
		e.State, e.AppPort = string(now), port
	})
	if err != nil {
		s.log.Warn("entry not written", "err", err)
	}
	s.net.announce(s.registration.Entry())
	if s.env.Watch.State != nil {
		s.env.Watch.State(now)
	}
}
