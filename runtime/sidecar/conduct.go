package sidecar

import (
	"context"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/logs"
	"github.com/pillion-dev/pillion/runtime/instance"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

// startNotice is how long a start may be silent.
const startNotice = time.Second

// outcome is how a run ended.
type outcome struct {
	exit    int
	status  string // in words
	killed  []supervisor.Proc
	crashed bool // the app ended by itself
}

// conduct waits for the app's end or for somebody who wants it, and then stops
// what is left; meanwhile it has the app's process replaced as often as there is
// a reason to. ask ends when the person asks; parts ends when another part of
// the sidecar has failed.
func (s *sidecar) conduct(ask, parts context.Context) error {
	s.announceStart()
	retiring, cut := context.WithCancel(context.WithoutCancel(parts))
	defer cut()
	s.cutRetired = cut
	s.succeeded = func(r *room) {
		go func() { // halt waits for it
			defer func() { <-s.retiring }()
			s.retireRoom(retiring, r)
		}()
	}
	signalled, now, err := s.attend(ask, parts)
	close(s.noRenewal)
	switch {
	case err != nil:
		s.leave(context.WithoutCancel(parts))
		s.keepFailure(apperr.From(err))
		return err
	case s.cfg.Profile.AsDaprd:
		return s.retire(context.WithoutCancel(parts), signalled, now)
	default:
		return s.halt(context.WithoutCancel(parts), now)
	}
}

// attend returns when the sidecar is to stop: by a signal or not, at once or
// not. It returns an error if the app cannot even be built.
func (s *sidecar) attend(ask, parts context.Context) (signalled, now bool, err error) {
	early := time.NewTimer(startNotice)
	defer early.Stop()
	c := &conductor{s: s}
	defer c.close()
	if len(s.cfg.Command) > 0 && s.process() == nil {
		c.begin(parts, renewal{}) // what is built first
	}
	for {
		select {
		case <-early.C:
			s.sayStarting()
		case <-c.ended():
			if !c.comesBack() {
				return false, false, nil
			}
		case changes := <-s.sources.changes():
			s.sayOwnWriting(changes.Loop)
			if len(changes.Paths) > 0 {
				c.begin(parts, renewal{changes: changes})
			}
		case r := <-s.renewals:
			c.begin(parts, r)
		case <-c.rested:
			c.begin(parts, renewal{crashed: true})
		case err := <-c.done:
			if err := c.finished(parts, err); err != nil {
				return false, false, err
			}
		case <-ask.Done():
			return true, false, nil
		case now = <-s.requests:
			return false, now, nil
		case <-parts.Done(): // the part's error is the one reported
			return false, false, nil
		}
	}
}

// keepFailure writes into the log why nothing runs: whoever began it has that of
// Run.
func (s *sidecar) keepFailure(e *apperr.Error) {
	if s.record != nil {
		s.record.Line(logs.Pillion, Notice{Kind: Failed, Text: e.What, Cause: e.Cause, Hint: e.Hint}.String())
		s.record.End("not run")
	}
}

// leave takes the instance out of everybody's choice: nobody picks it any more,
// and calls that were on their way go elsewhere. It says goodbye at once.
func (s *sidecar) leave(ctx context.Context) {
	s.stopped.Store(true)
	s.publish()
	s.server.Leave()
	s.net.goodbye(ctx)
}

// halt is the one clock of stopping: at once nobody chooses this instance any
// more; the app is asked to end when no call waits for its answer's head, at
// half the grace period at the latest; what is left at its end is killed. The
// app's calls to others work until it is gone. An app that ended by itself has
// only its leftovers to be waited for.
func (s *sidecar) halt(ctx context.Context, now bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Grace)
	defer cancel()
	hurried := make(chan struct{})
	defer func() { <-hurried }()
	defer cancel()
	go func() { // ends with ctx
		defer close(hurried)
		s.awaitHurry(ctx, cancel, now)
	}()
	defer context.AfterFunc(ctx, s.cutRetired)()
	s.halted = time.Now()
	p := s.process()
	crashed := s.crashed(p)
	s.outcome.crashed = crashed
	if !crashed {
		s.presses.Add(1) // whoever asked first: the next Ctrl-C is the second, as we say
		s.sayStopping()
	}
	s.leave(context.WithoutCancel(ctx))
	if !crashed {
		s.ending.phase(instance.Draining)
		s.drain(ctx, p)
	}
	s.ending.phase(instance.Signalled)
	if p != nil {
		s.awaitEnd(ctx, p)
	}
	s.retiring <- struct{}{} // free once what was replaced has ended, within its own period
	return s.farewell(p)
}

// crashed reports whether the app's process has ended by itself, and has the
// app's room tell its callers.
func (s *sidecar) crashed(p *process) bool {
	if p == nil || p.asked.Load() {
		return false
	}
	exit, ended := p.Exit()
	if ended {
		s.app().Exited(exit.String())
	}
	return ended
}

// drain lets the calls that wait for an answer have it, and then asks the app
// to end.
func (s *sidecar) drain(ctx context.Context, p *process) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Grace/2)
	defer cancel()
	if err := s.app().Drain(ctx); err != nil {
		s.log.Debug("not drained", "err", err)
	}
	if p != nil {
		s.terminate(p)
	}
}

// terminate asks p to end.
func (s *sidecar) terminate(p *process) {
	p.asked.Store(true)
	if err := p.Terminate(); err != nil {
		s.log.Debug("not signalled", "err", err)
	}
}

// awaitEnd waits for the last of the app's processes, and kills what is left
// when ctx ends.
func (s *sidecar) awaitEnd(ctx context.Context, p *process) {
	select {
	case <-p.Done():
	case <-ctx.Done():
		s.ending.phase(instance.Killing)
		_ = p.Kill() // Wait has its error
		<-p.Done()
	}
}

// awaitHurry cuts the stopping short when somebody asks for it.
func (s *sidecar) awaitHurry(ctx context.Context, cut func(), now bool) {
	for !now {
		select {
		case <-ctx.Done():
			return
		case <-s.env.Hurry:
			now = true
		case now = <-s.requests:
		}
	}
	cut()
}

// farewell notes how it ended and says so.
func (s *sidecar) farewell(p *process) error {
	ran := time.Since(s.began)
	n := Notice{Text: s.cfg.AppID + " ended", Facts: []string{"ran " + human.Took(ran)}}
	if p != nil {
		exit := s.reap(p, s.halted)
		s.outcome.exit, s.outcome.status, s.outcome.killed = exit.Code, exit.String(), exit.Killed
		s.app().Exited(exit.String())
		if exit.Code != 0 && (s.outcome.crashed || exit.Signal == 0) {
			n.Kind = Failed
		}
		n.Facts = append([]string{exit.String()}, n.Facts...)
	} else {
		s.outcome.status = "stopped"
		if len(s.cfg.Command) == 0 {
			n.Text = s.cfg.AppID + "'s sidecar ended"
		}
	}
	s.say(n)
	if s.env.Watch.Ended != nil {
		s.env.Watch.Ended(End{Exit: s.outcome.exit, Status: s.outcome.status, Itself: s.outcome.crashed, Ran: ran})
	}
	if s.record != nil {
		s.record.End(s.outcome.status)
	}
	killed := procNames(s.outcome.killed)
	s.ending.set(func(e *instance.Ending) {
		e.Phase, e.Exit, e.Killed = instance.Over, s.outcome.status, killed
	})
	return nil
}

// reap waits until nothing is left of p, and names the processes that had to be
// ended, since when it was begun to stop them.
func (s *sidecar) reap(p *process, since time.Time) supervisor.Exit {
	exit, err := p.Wait()
	if err != nil {
		s.say(Notice{Kind: Warning, Text: err.Error()})
	}
	switch {
	case len(exit.Killed) > 0:
		s.say(Notice{
			Kind: Warning, Text: "killed what did not end by itself: " + strings.Join(procNames(exit.Killed), ", "),
			Cause: "still there " + human.Took(time.Since(since)) + " after the stopping began",
		})
	case len(exit.Leftovers) > 0:
		s.say(Notice{Text: "ended what the app left behind: " + strings.Join(procNames(exit.Leftovers), ", ")})
	}
	return exit
}

func (s *sidecar) sayStopping() {
	n := Notice{Text: "stopping " + s.cfg.AppID}
	if calls := s.app().Inflight(); calls > 0 {
		n.Facts = append(n.Facts, human.Count(calls, "call")+" in flight")
	}
	if s.env.Terminal != nil {
		n.Aside = "Ctrl-C again to stop now"
	}
	s.say(n)
}

// key is a key of the terminal that is ours. The second one is meant.
func (s *sidecar) key(k supervisor.Key) {
	s.ask(k == supervisor.KeyStopNow || s.presses.Add(1) > 1)
}
