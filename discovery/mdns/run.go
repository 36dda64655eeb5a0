package mdns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/filelock"
)

const (
	// slots processes of a runtime folder answer at once: one may be stopped
	// in a debugger and hold its slot.
	slots = 2
	// electEvery is how often the others look whether a slot is free.
	electEvery = 500 * time.Millisecond
	// retryAfter is when a socket that could not be had is tried again.
	retryAfter = 2 * time.Second
)

// Run answers questions if it is elected, repeats announcements, asks again
// for names in use before they expire, and follows the interfaces, until ctx
// ends. What keeps mDNS from working is a warning, not an error: there are
// other sources.
func (s *Service) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	defer parts.Wait()
	for _, sc := range s.scopes {
		parts.Go(func() { s.serve(ctx, sc) })
		if sc.lan {
			parts.Go(func() { s.follow(ctx, sc) })
		}
	}
	parts.Go(func() { s.refresh(ctx) })
	s.repeatAnnouncements(ctx)
	return nil
}

// serve answers the scope's questions once this process is elected. A socket
// that cannot be had is tried again, and the slot kept: another process would
// fare no better.
func (s *Service) serve(ctx context.Context, sc *scope) {
	slot := s.elected(ctx, sc)
	if slot != nil {
		defer func() { _ = slot.Unlock() }()
	}
	for ctx.Err() == nil {
		err := sc.respond(ctx, func() { s.settle(sc, "") })
		if err != nil && ctx.Err() == nil {
			s.trouble(err, sc)
		}
		sleep(ctx, retryAfter)
	}
}

// elected waits for one of the slots of this folder and network namespace.
func (s *Service) elected(ctx context.Context, sc *scope) *filelock.File {
	if s.dir == "" {
		return nil
	}
	name := "responder"
	if sc.lan {
		name = "responder-lan"
	}
	for {
		for i := range slots {
			path := filepath.Join(s.dir, fmt.Sprintf("%s.%d.%d.lock", name, s.netns, i))
			if slot, err := filelock.TryLock(path); err == nil {
				return slot
			} else if !errors.Is(err, filelock.ErrLocked) {
				return nil // without a folder each answers for itself
			}
		}
		if !sleep(ctx, electEvery) {
			return nil
		}
	}
}

// trouble notes why a scope cannot be answered for, and says it once.
func (s *Service) trouble(err error, sc *scope) {
	problem := fmt.Sprintf("mDNS is off: %v", err)
	if errors.Is(err, syscall.EADDRINUSE) {
		problem = fmt.Sprintf("mDNS is off: another program keeps UDP port %d to itself", port)
	}
	if sc.lan {
		problem += "; other machines will not find this one"
	} else {
		problem += "; this user's apps on this machine are found all the same"
	}
	if !s.settle(sc, problem) {
		return
	}
	if s.warn != nil {
		s.warn(problem)
	} else {
		s.log.Warn("mdns is off", "err", err)
	}
}

// settle sets the scope's problem, and reports whether it is the first one.
func (s *Service) settle(sc *scope, problem string) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems[sc.lan] = problem
	first = problem != "" && !s.warned
	s.warned = s.warned || first
	return first
}

// repeatAnnouncements sends each announcement for the second time.
func (s *Service) repeatAnnouncements(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
		case <-s.repeat:
			sleep(ctx, repeatAfter)
		}
		s.mu.Lock()
		pending := s.pending
		s.mu.Unlock()
		// At the end only a goodbye is worth repeating, and it has to be now.
		if pending && (ctx.Err() == nil || s.leaving()) {
			_ = s.announce(false) // the first one has told what is wrong
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (s *Service) leaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own != nil && s.own.State == gone
}

// refresh asks again for names in use that are about to expire.
func (s *Service) refresh(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case key := <-s.refreshes:
			s.again(ctx, key)
		}
	}
}

// again asks for a name until it is fresh, or has not answered twice.
func (s *Service) again(ctx context.Context, key discovery.Key) {
	for range 2 {
		fresh := func() bool {
			_, stale := s.cache.lookup(key, time.Now())
			return !stale
		}
		if fresh() {
			return // it was asked for more than once
		}
		for _, sc := range s.scopes {
			if err := sc.ask(ctx, key, fresh); err != nil {
				s.log.Debug("name not refreshed", "app", key.App, "err", err)
			}
		}
	}
}

// follow announces anew when the machine's addresses have changed.
func (s *Service) follow(ctx context.Context, sc *scope) {
	var before []netip.AddrPort
	for first := true; ; first = false {
		if lan, err := lanInterfaces(); err == nil {
			now := withIndex(lan)
			if !first && !slices.Equal(before, now) {
				sc.zone.at(addressesOfAll(lan))
				s.log.Debug("interfaces changed", "interfaces", len(lan))
				s.mu.Lock()
				if s.own != nil {
					s.epoch = time.Now()
				}
				s.mu.Unlock()
				_ = s.announce(true) // the next change tries again
			}
			before = now
		}
		if !sleep(ctx, followEvery) {
			return
		}
	}
}

// withIndex are the addresses with their interfaces: one that was made again
// has lost its memberships and its neighbours' memory.
func withIndex(lan []iface) []netip.AddrPort {
	var all []netip.AddrPort
	for _, i := range lan {
		for _, a := range i.addrs {
			all = append(all, netip.AddrPortFrom(a, uint16(i.Index))) //nolint:gosec // only compared
		}
	}
	return all
}

// sleep waits for d, and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
