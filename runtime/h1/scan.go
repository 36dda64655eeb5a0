package h1

import (
	"sync/atomic"
	"time"
)

const (
	// scanSoon is how often young calls are looked after, scanLater how often
	// if all are older than scanOld: a client's end is known within 100 ms.
	scanSoon  = 20 * time.Millisecond
	scanLater = 50 * time.Millisecond
	scanOld   = 50 // looks
)

// A scanner looks whether the clients of calls under way are still there. A
// call that is over within two looks costs it nothing, and it sleeps while
// there is no call.
type scanner struct {
	on    atomic.Bool
	looks atomic.Uint32 // its clock
	end   chan struct{}
}

// called notes a call under way.
func (s *Server) called(x *Exchange) {
	if s.stopped.Load() { // Shutdown may have looked for calls before this one
		x.ctx.Cancel(s.cause())
	}
	if !s.scan.on.Load() && s.scan.on.CompareAndSwap(false, true) {
		s.serving.Go(s.watch) // the caller is in serving too, so nobody waits for it yet
	}
}

// watch looks after calls as long as there are any.
func (s *Server) watch() {
	timer := time.NewTimer(scanSoon)
	defer timer.Stop()
	for {
		select {
		case <-s.scan.end:
			return
		case <-timer.C:
		}
		s.scan.looks.Add(1)
		calls, wait := s.calls()
		if wait == 0 {
			s.scan.on.Store(false)
			// A call that has come since may have seen the scanner on.
			if _, wait = s.calls(); wait == 0 || !s.scan.on.CompareAndSwap(false, true) {
				return
			}
		}
		for _, x := range s.gone(calls) {
			x.ctx.Cancel(errClientGone)
		}
		timer.Reset(wait)
	}
}

// calls are those under way that are not quite young, and when to look again;
// 0 if there is no call.
func (s *Server) calls() (old []*Exchange, wait time.Duration) {
	now := s.scan.looks.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		x := c.call.Load()
		if x == nil {
			continue
		}
		age := now - x.began
		if age < scanOld {
			wait = scanSoon
		} else if wait == 0 {
			wait = scanLater
		}
		if age > 1 {
			old = append(old, x)
		}
	}
	return old, wait
}
