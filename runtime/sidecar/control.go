package sidecar

import (
	"context"
	"sync"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/runtime/instance"
	"github.com/pillion-dev/pillion/runtime/supervisor"
)

var _ instance.Control = (*sidecar)(nil)

// ending is what the control socket's callers are told of the end. Its zero
// value is an instance that runs.
type ending struct {
	mu  sync.Mutex // guards what follows
	now instance.Ending
}

func (e *ending) set(change func(*instance.Ending)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.now)
}

func (e *ending) phase(p instance.Phase) { e.set(func(now *instance.Ending) { now.Phase = p }) }

func (e *ending) get() instance.Ending {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

// Status implements instance.Control.
func (s *sidecar) Status() instance.Status {
	now := s.ending.get()
	if p := s.process(); now.Phase == instance.Signalled && p != nil {
		if tree, err := p.Tree(); err == nil {
			now.Waiting = procNames(tree)
		}
	}
	counts := s.doors.Counts()
	return instance.Status{
		Entry: s.registration.Entry(), Calls: s.app().Inflight(), Ending: now,
		Requests: instance.Requests{
			Fast: counts.Fast, HTTP2: counts.HTTP2, Standard: counts.Standard, Refused: counts.Refused,
		},
	}
}

// Stop implements instance.Control.
func (s *sidecar) Stop(_ context.Context, now bool) error {
	s.ask(now)
	return nil
}

// ask asks the conductor to stop; it does not wait.
func (s *sidecar) ask(now bool) {
	select {
	case s.requests <- now:
	default: // enough of them wait already
	}
}

func procNames(procs []supervisor.Proc) []string {
	var out []string
	for _, p := range procs {
		out = append(out, p.String())
	}
	return out
}

// notReady names what a caller's health check still waits for. A sidecar is
// ready when its app's port is, as Dapr's.
func (s *sidecar) notReady() []string {
	if s.cfg.Profile.AsDaprd {
		if s.initialised.Load() {
			return nil
		}
		return []string{"runtime"}
	}
	if s.app().State() == discovery.Ready || s.cfg.AppPort == 0 {
		return nil
	}
	return []string{"app"}
}
