// Package stack runs several apps, each with its sidecar, in one process: those
// of a run file. With a command it waits until they are ready, runs that as one
// more app, and stops them all.
package stack

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/filewatch"
	"github.com/pillion-dev/pillion/runtime/sidecar"
)

// An App is one app of a stack: what it is, and what it gets from the process.
// The Watch, the Files and the Expected of its Env are the stack's.
type App struct {
	Config config.Sidecar
	Env    sidecar.Env
}

// A Stack is what is run together.
type Stack struct {
	// Apps are started in this order, as far as the choice of ports goes, and
	// otherwise at the same time.
	Apps []App
	// Command, if there is one, is run once every app is ready.
	Command *App
	// Patience is how long the apps may take to be ready for the command.
	// Default: the longest StartHold among them.
	Patience time.Duration
	// Environ is the process's environment.
	Environ []string
	// Changed is told how an app is now: its place in Apps. It is called from
	// several goroutines and must not block for long. Begun is called before the
	// command is started, Stopping before the apps are stopped. All may be nil.
	Changed  func(app int, now Status)
	Begun    func()
	Stopping func()
	// Run runs one app; nil is sidecar.Run.
	Run func(context.Context, config.Sidecar, sidecar.Env) (int, error)
}

// A Status is how an app is.
type Status struct {
	// Launched means that it was started; State is how its calls fare.
	Launched bool
	State    discovery.State
	// Ready means that it was ready at least once, or has no port to be ready
	// with.
	Ready bool
	// Stale is why what runs is not the newest source; empty if it is.
	Stale string
	// End is how it ended; nil while it runs. Err is why it could not be run, or
	// not any longer.
	End *sidecar.End
	Err error
}

// Over reports whether nothing is left of it.
func (s Status) Over() bool { return s.End != nil || s.Err != nil }

// Failed reports whether it could not be run or ended badly by itself.
func (s Status) Failed() bool {
	return s.Err != nil || s.End != nil && s.End.Itself && s.End.Exit != 0
}

// A Result is how a stack ended.
type Result struct {
	// Apps are the last states.
	Apps []Status
	// Commanded means that the command was run; Exit is then its status and Err
	// why it could not be run.
	Commanded bool
	Exit      int
	Err       error
	// Late are the apps that were not ready in time for the command.
	Late []int
	// Interrupted means that ctx ended before everything had ended by itself.
	Interrupted bool
}

// Run runs a stack until all its apps have ended, ctx ends, an app cannot be
// started, or the command has ended; then it stops what is left. Nothing is
// left when it returns.
func Run(ctx context.Context, s Stack) Result {
	r := &run{Stack: s, apps: make([]Status, len(s.Apps)), news: make(chan struct{}, 1)}
	if r.Run == nil { // the process is there for this stack alone
		r.Run = sidecar.Run
		if !slices.ContainsFunc(s.Apps, func(a App) bool { return a.Config.Profiling }) {
			runtime.MemProfileRate = 0 // samples that nobody can ask for
		}
	}
	// The apps outlive ctx: the command may call them until it has ended.
	alive, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var beside sync.WaitGroup
	beside.Go(func() { _ = sidecar.Tune(alive, s.Environ) }) // it returns nil
	files := r.share()
	beside.Go(func() { _ = files.Run(alive) }) // nil, too
	defer beside.Wait()
	defer stop()

	over := r.start(alive)
	var result Result
	if s.Command == nil {
		result.Interrupted = !r.await(ctx, over, func(Status) bool { return false })
	} else {
		result = r.command(ctx, over)
	}
	select {
	case <-over:
	default:
		if s.Stopping != nil {
			s.Stopping()
		}
	}
	stop()
	<-over
	result.Apps = r.now()
	return result
}

// share gives all apps one watcher of files, which it returns, and tells each of
// all the others: one may be called before its sidecar is there.
func (r *run) share() *filewatch.Watcher {
	var say func(sidecar.Notice)
	r.Apps = slices.Clone(r.Apps)
	if len(r.Apps) > 0 {
		say = r.Apps[0].Env.Say // it is about all, and said once
	}
	files := sidecar.Files(say)
	var all []discovery.Key
	for _, app := range r.Apps {
		all = append(all, discovery.Key{Namespace: app.Config.Namespace, App: app.Config.AppID})
	}
	for i := range r.Apps {
		r.Apps[i].Env.Files, r.Apps[i].Env.Expected = files, all
	}
	if r.Command != nil {
		command := *r.Command
		command.Env.Files, command.Env.Expected = files, all
		r.Command = &command
	}
	return files
}

// A run is a stack that runs.
type run struct {
	Stack
	news chan struct{} // rings when an app's state has changed

	mu   sync.Mutex // guards what follows
	apps []Status
}

// start starts every app. Each has its ports before the next one looks for
// some, so that who gets which is the same each time. The channel is closed when
// all have ended.
func (r *run) start(ctx context.Context) <-chan struct{} {
	var all sync.WaitGroup
	free := make(chan struct{})
	close(free)
	for i := range r.Apps {
		before, bound := free, make(chan struct{})
		free = bound
		all.Go(func() {
			pass := sync.OnceFunc(func() { close(bound) })
			defer pass()
			select {
			case <-before:
			case <-ctx.Done():
			}
			r.one(ctx, i, pass)
		})
	}
	over := make(chan struct{})
	go func() { // Run waits for it
		all.Wait()
		close(over)
	}()
	return over
}

// one runs one app to its end.
func (r *run) one(ctx context.Context, i int, bound func()) {
	app := r.Apps[i]
	app.Env.Watch = sidecar.Watch{
		Bound: func(sidecar.Ports) { bound() },
		State: func(state discovery.State) {
			r.change(i, func(s *Status) {
				s.Launched, s.State = true, state
				s.Ready = s.Ready || state == discovery.Ready || !hasPort(app.Config)
			})
		},
		Stale: func(why string) { r.change(i, func(s *Status) { s.Stale = why }) },
		Ended: func(end sidecar.End) { r.change(i, func(s *Status) { s.End = &end }) },
	}
	_, err := r.Run(ctx, app.Config, app.Env)
	if err != nil && ctx.Err() == nil {
		r.change(i, func(s *Status) { s.Err = err })
		return
	}
	r.change(i, func(s *Status) {
		if s.End == nil { // it was stopped before it was started
			s.End = &sidecar.End{Status: "not started"}
		}
	})
}

// hasPort reports whether the app has promised to listen. What only may is not
// waited for: a call to it is.
func hasPort(cfg config.Sidecar) bool { return cfg.AppPort != 0 || cfg.AppPortAuto }

func (r *run) change(i int, how func(*Status)) {
	r.mu.Lock()
	how(&r.apps[i])
	now := r.apps[i]
	r.mu.Unlock()
	if r.Changed != nil {
		r.Changed(i, now)
	}
	select {
	case r.news <- struct{}{}:
	default:
	}
}

func (r *run) now() []Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Status(nil), r.apps...)
}

// await returns true when every app has ended or one could not be started or
// stop says so of one, and false when ctx ended first.
func (r *run) await(ctx context.Context, over <-chan struct{}, stop func(Status) bool) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-over:
			return true
		case <-r.news:
		}
		for _, s := range r.now() {
			if s.Err != nil && !s.Launched || stop(s) {
				return true
			}
		}
	}
}

// command waits for the apps to be ready and runs the command.
func (r *run) command(ctx context.Context, over <-chan struct{}) Result {
	patient, cancel := context.WithTimeout(ctx, r.patience())
	defer cancel()
	for !r.allReady() {
		ended := !r.await(patient, over, func(Status) bool { return true })
		if !ended && !r.anyLost() {
			continue
		}
		if r.allReady() {
			break
		}
		return Result{Late: r.late(), Interrupted: ctx.Err() != nil}
	}
	if ctx.Err() != nil {
		return Result{Interrupted: true}
	}
	if r.Begun != nil {
		r.Begun()
	}
	exit, err := r.Run(ctx, r.Command.Config, r.Command.Env)
	return Result{Commanded: true, Exit: exit, Err: err, Interrupted: ctx.Err() != nil}
}

func (r *run) patience() time.Duration {
	if r.Patience > 0 {
		return r.Patience
	}
	longest := time.Duration(0)
	for _, app := range r.Apps {
		hold := app.Config.StartHold
		if hold == 0 {
			hold = config.DefaultStartHold
		}
		longest = max(longest, hold)
	}
	return longest
}

// settled reports whether the command need not wait for an app: it is ready, or
// has done its work.
func (s Status) settled() bool {
	return s.Ready && !s.Over() || s.End != nil && s.End.Itself && s.End.Exit == 0 && s.Ready
}

func (r *run) allReady() bool {
	for _, s := range r.now() {
		if !s.settled() {
			return false
		}
	}
	return true
}

// anyLost reports whether an app will never be ready.
func (r *run) anyLost() bool {
	for _, s := range r.now() {
		if s.Over() && !s.settled() {
			return true
		}
	}
	return false
}

func (r *run) late() []int {
	var out []int
	for i, s := range r.now() {
		if !s.settled() {
			out = append(out, i)
		}
	}
	return out
}
