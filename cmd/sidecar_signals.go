package cmd

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/pillion-dev/pillion/internal/daprlog"
)

const scopeSignals = "dapr.signals"

// daprdSignals are what signals mean to daprd: the first SIGINT or SIGTERM
// stops it gracefully, the second one ends it at once, and SIGHUP has it begin
// anew.
type daprdSignals struct {
	hurry chan struct{} // closed by the second one
	log   *daprlog.Handler

	got      chan os.Signal
	over     chan struct{}
	watching sync.WaitGroup

	mu      sync.Mutex // guards what follows
	stopped bool       // there was a first one
	hungUp  bool       // SIGHUP ended what runs
	end     context.CancelFunc
}

// watchDaprd begins to watch. Stop ends it.
func watchDaprd(log *daprlog.Handler) *daprdSignals {
	s := &daprdSignals{
		hurry: make(chan struct{}), log: log,
		got: make(chan os.Signal, 4), over: make(chan struct{}), end: func() {},
	}
	signal.Notify(s.got, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	s.watching.Go(s.watch)
	return s
}

func (s *daprdSignals) stop() {
	signal.Stop(s.got)
	close(s.over)
	s.watching.Wait()
}

func (s *daprdSignals) watch() {
	for {
		select {
		case <-s.over:
			return
		case sig := <-s.got:
			s.take(sig)
		}
	}
}

func (s *daprdSignals) take(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case sig == syscall.SIGHUP:
		if s.stopped || s.hungUp {
			return
		}
		s.log.Say(slog.LevelInfo, scopeSignals, "Received signal '"+sig.String()+"'; restarting")
		s.hungUp = true
	case !s.stopped:
		s.log.Say(slog.LevelInfo, scopeSignals, "Received signal '"+sig.String()+"'; beginning shutdown")
		s.stopped = true
	default:
		select {
		case <-s.hurry:
		default:
			s.log.Say(daprlog.LevelFatal, scopeSignals,
				"Received signal '"+sig.String()+"' during shutdown; exiting immediately")
			close(s.hurry)
		}
	}
	s.end()
}

// during returns a context that the signals end. Ended is called when what runs
// has ended, and reports whether it is to begin anew.
func (s *daprdSignals) during(ctx context.Context) (_ context.Context, ended func() (restart bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, s.end = context.WithCancel(ctx)
	if s.stopped {
		s.end()
	}
	return ctx, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end()
		restart := s.hungUp && !s.stopped
		s.hungUp = false
		return restart
	}
}
