package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/daprlog"
	"github.com/pillion-dev/pillion/internal/lifecycle"
	"github.com/pillion-dev/pillion/runtime/instance"
)

const (
	// forcedDrain is how long a shutdown by force leaves to those who asked
	// for it: their own answer.
	forcedDrain = 100 * time.Millisecond
	// drainLook is how often it is looked whether calls have ended.
	drainLook = 5 * time.Millisecond
)

// errHurried is why a graceful shutdown is cut short.
var errHurried = errors.New("somebody does not want to wait")

// A ward is doors that can be closed before the rest of the sidecar ends.
type ward struct {
	shut     chan struct{}
	open     sync.WaitGroup // the doors
	watching sync.WaitGroup // who waits for them
}

// task serves a door until the sidecar ends, or its doors are closed.
func (w *ward) task(name string, serve func(context.Context) error) lifecycle.Task {
	w.open.Add(1)
	return lifecycle.Task{Name: name, Run: func(parts context.Context) error {
		err := func() error {
			defer w.open.Done()
			ctx, cancel := context.WithCancel(parts)
			ended := make(chan struct{})
			defer func() { <-ended }()
			defer cancel()
			go func() { // ends with ctx
				defer close(ended)
				select {
				case <-w.shut:
					cancel()
				case <-ctx.Done():
				}
			}()
			return serve(ctx)
		}()
		if err == nil {
			<-parts.Done() // the first task that returns ends all
		}
		return err
	}}
}

// close closes the doors; what it returns is closed when the last request at
// them has ended.
func (w *ward) close() <-chan struct{} {
	close(w.shut)
	gone := make(chan struct{})
	w.watching.Go(func() {
		w.open.Wait()
		close(gone)
	})
	return gone
}

// retire is daprd's way to stop, which has no process to end: the listeners are
// closed at once and nobody chooses this instance any more; what is under way
// may end within the graceful period. signalled says that it was a signal,
// which may have to wait first.
func (s *sidecar) retire(ctx context.Context, signalled, now bool) error {
	if signalled && s.cfg.BlockShutdown > 0 {
		now = s.block(ctx)
	}
	s.halted = time.Now()
	ctx, cut := context.WithCancelCause(ctx)
	limited, cancel := context.WithTimeout(ctx, s.cfg.Grace) // config.Forever is one, too
	defer cancel()
	var hurry sync.WaitGroup
	defer hurry.Wait()
	defer cut(nil)
	hurry.Go(func() { s.awaitHurry(limited, func() { cut(errHurried) }, now) })

	s.logf("Dapr is shutting down")
	s.ending.phase(instance.Draining)
	s.leave(context.WithoutCancel(ctx))
	s.sayClosing()
	finished := s.finished(limited, s.ward.close())
	switch {
	case errors.Is(context.Cause(limited), errHurried):
		s.outcome.exit = 1
	case !finished:
		s.outcome.exit = 1
		s.records.Say(daprlog.LevelFatal, "", "Graceful shutdown timeout exceeded, forcing shutdown")
	default:
		s.logf("Dapr runtime stopped")
	}
	s.outcome.status = "stopped"
	if s.record != nil {
		s.record.End(s.outcome.status)
	}
	s.ending.set(func(e *instance.Ending) { e.Phase, e.Exit = instance.Over, s.outcome.status })
	return nil
}

// finished waits for what is under way, in both directions, and reports whether
// all of it has ended. Otherwise it is cut off.
func (s *sidecar) finished(ctx context.Context, doors <-chan struct{}) bool {
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for ended := false; ; {
		if ended && s.app().Inflight() == 0 {
			return true
		}
		select {
		case <-doors:
			doors, ended = nil, true
		case <-look.C:
		case <-ctx.Done():
			s.cutOff(doors)
			return false
		}
	}
}

// cutOff ends what is open at the doors, but for the answer to who asked for
// it.
func (s *sidecar) cutOff(doors <-chan struct{}) {
	if doors != nil {
		last := time.NewTimer(forcedDrain)
		defer last.Stop()
		select {
		case <-doors:
		case <-last.C:
		}
	}
	s.doors.Cut()
}

// block keeps everything as it is after a signal: for as long as was asked for,
// or until the app does not answer any more. It reports whether somebody does
// not want to wait for that either.
func (s *sidecar) block(ctx context.Context) (now bool) {
	s.logf("Blocking graceful shutdown for " + s.cfg.BlockShutdown.String() + " or until app reports unhealthy...")
	over := time.NewTimer(s.cfg.BlockShutdown)
	defer over.Stop()
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for {
		select {
		case <-over.C:
			s.logf("Block shutdown period expired, entering shutdown...")
			return false
		case <-look.C:
			if state := s.app().State(); s.cfg.AppHealth.Check && state == discovery.Unhealthy {
				s.logf("App reported unhealthy, entering shutdown...")
				return false
			}
		case <-s.env.Hurry:
			return true
		case now := <-s.requests:
			return now
		case <-ctx.Done():
			return true
		}
	}
}

func (s *sidecar) sayClosing() {
	for _, d := range []door{s.http, s.public, s.pprof} {
		for _, ln := range d.listeners {
			s.records.Say(slog.LevelInfo, scopeHTTP, "Closing HTTP server "+ln.Addr().String()+"…")
		}
	}
}
