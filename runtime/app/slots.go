package app

import (
	"container/list"
	"context"
	"sync"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
)

// maxQueued bounds the calls that wait for a slot.
const maxQueued = 10_000

// slots bounds the calls the app has at once. Who waits longest is next. With
// max 0 there is no bound.
type slots struct {
	max int

	mu      sync.Mutex // guards what follows
	used    int
	waiting list.List // of chan struct{}, closed when the slot is given
}

// acquire takes a slot, waiting for one until ctx ends. queued is called if
// the call has to wait, once its place is taken.
func (s *slots) acquire(ctx context.Context, queued func()) error {
	if s.max <= 0 {
		return nil
	}
	s.mu.Lock()
	if s.used < s.max && s.waiting.Len() == 0 {
		s.used++
		s.mu.Unlock()
		return nil
	}
	if s.waiting.Len() >= maxQueued {
		s.mu.Unlock()
		return &apperr.Error{
			Reason:  apperr.HoldExceeded,
			What:    "too many calls wait for the app's maximum concurrency",
			Reached: apperr.ReachedNo,
		}
	}
	given := make(chan struct{})
	place := s.waiting.PushBack(given)
	s.mu.Unlock()
	queued()
	select {
	case <-given:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	select {
	case <-given: // given in the same moment: it goes to the next
		s.mu.Unlock()
		s.release()
	default:
		s.waiting.Remove(place)
		s.mu.Unlock()
	}
	return callctx.Cause(ctx)
}

// force takes a slot, though there may be none left.
func (s *slots) force() {
	if s.max <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used++
}

// release gives the slot to who waits longest.
func (s *slots) release() {
	if s.max <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.waiting.Front()
	if next == nil || s.used > s.max {
		s.used--
		return
	}
	close(s.waiting.Remove(next).(chan struct{}))
}
