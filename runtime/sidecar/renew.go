package sidecar

import (
	"context"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/instance"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

var _ instance.Restarter = (*sidecar)(nil)

// errStopping is what those get who ask for a new process too late.
var errStopping = &apperr.Error{Reason: apperr.NoSuchApp, What: "the app is being stopped"}

// Restart implements instance.Restarter.
func (s *sidecar) Restart(ctx context.Context) error {
	if len(s.cfg.Command) == 0 {
		return instance.NotRun(s.cfg.AppID)
	}
	asked := make(chan error, 1)
	select {
	case s.renewals <- renewal{asked: []chan error{asked}}:
	case <-s.noRenewal:
		return errStopping
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-asked:
		return err
	case <-ctx.Done():
		return context.Cause(ctx) // it goes on
	}
}

// watches reports whether changes of files start the app anew, restarts whether
// its end does.
func (s *sidecar) watches() bool  { return len(s.cfg.Watch) > 0 }
func (s *sidecar) restarts() bool { return again(s.cfg.Restart, 1) }

// overlaps reports whether a new process is started before the old one is
// stopped. Only one that is told its port can be.
func (s *sidecar) overlaps() bool { return s.cfg.AppPortAuto && s.watches() }

// renew replaces the app's process: what there is to be built is built, and
// then, if each process has a port of its own, the new one takes over from the
// old one once it is ready; otherwise calls wait while the old one is stopped
// and the new one started. It returns once the new one is ready, or why there is
// none; the old one serves on then, if it can. If ctx ends meanwhile, it leaves
// things as they are.
func (s *sidecar) renew(ctx context.Context, r renewal) error {
	began, old := time.Now(), s.process()
	s.sayChanges(r.changes)
	if (old == nil || old.isOver()) && s.app().State() == discovery.Unhealthy {
		s.app().Restarting() // calls wait for what comes
	}
	err := s.replace(ctx, r)
	if now := s.process(); old != nil && now != nil && now != old { // also one that ended again
		s.updateEntry(func(e *rundir.Entry) { e.Restarts++ })
		s.replaced.Add(1)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if s.process() != old && !s.unbuilt {
		s.setStale("")
	}
	if err != nil {
		s.failedRenewal(old, apperr.From(err))
		return err
	}
	if old != nil {
		s.say(Notice{Kind: Good, Text: s.cfg.AppID + " restarted", Facts: []string{"took " + human.Took(time.Since(began))}})
	}
	return nil
}

func (s *sidecar) replace(ctx context.Context, r renewal) error {
	if s.isBuilt() && !r.crashed {
		err := s.build(ctx)
		if s.unbuilt = err != nil; s.unbuilt {
			return err
		}
	}
	if _, err := supervisor.Lookup(s.cfg.Command[0], s.cfg.Dir, s.env.Environ); err != nil {
		return err // while the old one still runs
	}
	if old := s.process(); old != nil && s.overlaps() && !old.isOver() {
		return s.takeOver(ctx)
	}
	return s.inPlace(ctx)
}

// inPlace has the old process stopped and a new one started where it was. Calls
// wait meanwhile.
func (s *sidecar) inPlace(ctx context.Context) error {
	r := s.current.Load()
	waits := true // for the new one to be ready
	if p := r.now.Load(); p != nil {
		waits = r.app.Port() != 0 || r.app.State() != discovery.Ready
		r.app.Restarting()
		if err := s.stop(ctx, r, p); err != nil {
			if !p.asked.Load() {
				r.app.Started() // it goes on
			}
			return err
		}
	}
	p, err := s.execute(ctx, r)
	if err != nil {
		return err
	}
	if err := s.announcePID(p); err != nil { // before anybody finds it ready
		s.log.Warn("entry not written", "err", err)
	}
	r.app.Started()
	s.sources.started()
	if !waits {
		return nil
	}
	s.discardable.Store(true)
	defer s.discardable.Store(false)
	if err := s.awaitReady(ctx, r, p); err != nil {
		return err
	}
	s.publish() // whoever is told that it was restarted finds it ready
	return nil
}

// stop stops p within the grace period: once the calls it has are answered, at
// half of the period at the latest. If ctx ends, p is left as it is.
func (s *sidecar) stop(ctx context.Context, r *room, p *process) error {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, s.cfg.Grace)
	defer cancel()
	if _, ended := p.Exit(); !ended {
		quiet, cancel := context.WithTimeout(limited, min(s.cfg.Grace, s.cfg.Hold)/2)
		defer cancel()
		if err := r.app.Quiet(quiet); err != nil {
			s.log.Debug("calls are cut off", "err", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.terminate(p)
	}
	select {
	case <-p.Done():
	case <-limited.Done():
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_ = p.Kill() // Wait has its error
		<-p.Done()
	}
	s.reap(p, began)
	return nil
}

// takeOver starts a process on a port of its own beside the old one, and gives
// it the calls once it is ready. The old one keeps those it has, and is stopped.
func (s *sidecar) takeOver(ctx context.Context) error {
	s.discardable.Store(true)
	defer s.discardable.Store(false)
	select {
	case s.retiring <- struct{}{}: // two at a time, not more
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	next, err := s.prepareRoom(ctx)
	if err != nil {
		<-s.retiring
		return err
	}
	old := s.current.Swap(next)
	s.relay.Switch(next.app)
	s.publish()
	s.heardState(next.app.State())
	if err := s.announcePID(next.now.Load()); err != nil {
		s.log.Warn("entry not written", "err", err)
	}
	s.succeeded(old)
	return nil
}

// prepareRoom is a room on a port of its own whose app is ready. Nothing is left
// of one whose app does not get so.
func (s *sidecar) prepareRoom(ctx context.Context) (*room, error) {
	port, claim, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	r := s.newRoom(port, claim)
	p, err := s.execute(ctx, r)
	if err != nil {
		r.leave()
		return nil, err
	}
	select {
	case s.rooms <- r:
	case <-ctx.Done():
	}
	s.sources.started()
	if err := s.awaitReady(ctx, r, p); err != nil {
		_ = p.Kill() // nobody has called it
		<-p.Done()
		r.leave()
		return nil, err
	}
	return r, nil
}

// retireRoom lets a process that another has replaced answer the calls it has,
// and stops it, within the grace period.
func (s *sidecar) retireRoom(ctx context.Context, r *room) {
	began := time.Now()
	defer r.leave()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Grace)
	defer cancel()
	p := r.now.Load()
	drained, cancel := context.WithTimeout(ctx, s.cfg.Grace/2)
	defer cancel()
	if err := r.app.Drain(drained); err != nil {
		s.log.Debug("not drained", "err", err)
	}
	s.terminate(p)
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Kill() // Wait has its error
	}
	s.reap(p, began)
}

// awaitReady waits until p, in r, takes calls, and says why it does not.
func (s *sidecar) awaitReady(ctx context.Context, r *room, p *process) error {
	limit := time.NewTimer(s.cfg.StartHold)
	defer limit.Stop()
	for r.app.State() != discovery.Ready {
		select {
		case <-r.news:
		case <-p.Ended():
			exit, _ := p.Exit()
			return &apperr.Error{
				Reason: apperr.AppUnreachable, What: s.cfg.AppID + " ended before it was ready: " + exit.String(),
				Hint: "see its last lines with pillion logs " + s.cfg.AppID,
			}
		case <-limit.C:
			return &apperr.Error{
				Reason: apperr.AppUnreachable, What: s.cfg.AppID + " is not ready",
				Cause: "started " + human.Took(s.cfg.StartHold) + " ago", Hint: "--start-hold gives it more time",
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// failedRenewal says that the app's process, old, was not replaced, and notes it
// if old serves on. That nothing runs any more is the conductor's to say.
func (s *sidecar) failedRenewal(old *process, e *apperr.Error) {
	switch now := s.process(); {
	case now == nil, now.isOver():
	case now != old:
		s.say(Notice{Kind: Warning, Text: e.What, Cause: e.Cause, Hint: e.Hint})
	default:
		why := whyOf(e)
		s.setStale(why)
		s.say(Notice{Kind: Failed, Text: s.cfg.AppID + " is STALE: the old one serves on", Cause: why, Hint: e.Hint})
	}
}

// whyOf is what went wrong, in one line.
func whyOf(e *apperr.Error) string {
	if e.Cause == "" {
		return e.What
	}
	return e.What + ": " + e.Cause
}

// setStale notes why what runs is not what the sources say; "" that it is.
func (s *sidecar) setStale(why string) {
	if s.env.Watch.Stale != nil {
		s.env.Watch.Stale(why)
	}
	s.updateEntry(func(e *rundir.Entry) {
		switch {
		case why == "":
			e.Stale, e.StaleSince = "", time.Time{}
		case e.Stale == "":
			e.Stale, e.StaleSince = why, time.Now().UTC()
		default:
			e.Stale = why
		}
	})
}

func (s *sidecar) updateEntry(change func(*rundir.Entry)) {
	if err := s.registration.Update(change); err != nil {
		s.log.Warn("entry not written", "err", err)
	}
}
