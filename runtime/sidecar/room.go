package sidecar

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

// A room is the app as it is called, with the process behind it: one room for
// all processes that open the same port, another for each that was given a port
// of its own.
type room struct {
	app  *app.App
	port uint16 // given to the process; 0 if it chooses
	// news rings when something has happened in it.
	news chan struct{}
	now  atomic.Pointer[process] // nil before the first start

	// left is closed by leave, when nobody needs the app any more.
	left  chan struct{}
	leave func()
}

// A process is one execution of the app.
type process struct {
	*supervisor.Process
	began time.Time
	// asked is true once we have asked it to end.
	asked atomic.Bool
	last  *tail
}

// isOver reports whether its first process has ended.
func (p *process) isOver() bool {
	_, ended := p.Exit()
	return ended
}

// newRoom makes the room of an app that listens on port. Its app's Run is for
// runRooms. The claim to the port, nil if it is not ours, ends when it is left.
func (s *sidecar) newRoom(port uint16, claim io.Closer) *room {
	r := &room{port: port, news: make(chan struct{}, 1), left: make(chan struct{})}
	r.leave = sync.OnceFunc(func() {
		close(r.left)
		if claim != nil {
			_ = claim.Close() // it is not needed any more
		}
	})
	r.app = app.New(app.Config{
		Name: s.cfg.AppID, Protocol: s.cfg.AppProtocol, Address: s.cfg.AppChannelAddress, Port: port,
		Command: len(s.cfg.Command) > 0, MaxConcurrency: s.cfg.AppMaxConcurrency,
		Hold: app.HoldLimits{Wait: s.cfg.Hold}, StartHold: s.cfg.StartHold, Token: s.cfg.AppToken,
		Sockets: r.sockets, Processes: r.processes, Health: s.health(),
		Events: func(e app.Event) { s.heard(r, e) }, Standard: s.standard(), Logger: s.log,
	})
	return r
}

// runRooms runs each room's app until it is left, or ctx ends.
func (s *sidecar) runRooms(ctx context.Context) error {
	var rooms sync.WaitGroup
	defer rooms.Wait()
	for {
		select {
		case r := <-s.rooms:
			running, end := context.WithCancel(ctx)
			rooms.Go(func() {
				defer end()
				_ = r.app.Run(running) // it has no errors
			})
			rooms.Go(func() {
				defer end()
				select {
				case <-r.left:
				case <-running.Done():
				}
			})
		case <-ctx.Done():
			return nil
		}
	}
}

// app is the app that gets the calls now.
func (s *sidecar) app() *app.App { return s.relay.Current() }

// process is the app's process, which may have ended; nil if there has been
// none yet.
func (s *sidecar) process() *process {
	if r := s.current.Load(); r != nil {
		return r.now.Load()
	}
	return nil
}

// execute starts the app's process in r.
func (s *sidecar) execute(ctx context.Context, r *room) (*process, error) {
	cfg := s.cfg
	cfg.AppPort = r.port
	spec := supervisor.Spec{
		Command: cfg.Command, Dir: cfg.Dir,
		Env: environ(s.env.Environ, cfg, s.http.port, s.grpc.port),
		In:  s.env.In, Out: s.env.Out, Err: s.env.Err, Terminal: s.env.Terminal, Margin: s.env.Margin,
		Keys: s.key, Job: s.env.Job,
	}
	if s.overlaps() { // two processes cannot share one keyboard
		spec.In, spec.Job = nil, false
	}
	p := &process{began: time.Now(), last: new(tail)}
	spec.Log = s.logWriter
	if s.restarts() {
		spec.Log = p.last.beside(s.logWriter)
	}
	var err error
	if p.Process, err = supervisor.Start(ctx, spec); err != nil {
		return nil, err
	}
	r.now.Store(p)
	return p, nil
}

// announcePID writes the process of the app into the entry.
func (s *sidecar) announcePID(p *process) error {
	pid := p.PID()
	return s.registration.Update(func(e *rundir.Entry) { e.AppPID = pid })
}

// sockets are what the process tree listens on, as the app's room wants to know
// it.
func (r *room) sockets() ([]app.Socket, error) {
	p := r.now.Load()
	if p == nil {
		return nil, nil
	}
	found, err := p.Sockets()
	if err != nil {
		return nil, err
	}
	out := make([]app.Socket, 0, len(found))
	for _, f := range found {
		out = append(out, app.Socket{Addr: f.Addr, PID: f.PID, Name: f.Name})
	}
	return out, nil
}

func (r *room) processes() []string {
	p := r.now.Load()
	if p == nil {
		return nil
	}
	tree, err := p.Tree()
	if err != nil {
		return nil
	}
	var out []string
	for _, one := range tree {
		out = append(out, one.Name)
	}
	return out
}

// ring says that there are news.
func (r *room) ring() {
	select {
	case r.news <- struct{}{}:
	default: // it rings already
	}
}
