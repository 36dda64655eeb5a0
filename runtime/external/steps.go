package external

import (
	"sync"
	"time"
)

// steps measures the making of a connection.
type steps struct {
	mu               sync.Mutex // guards what follows
	dialled, secured step
}

type step struct {
	began time.Time
	took  time.Duration
}

func (s *steps) begin(one *step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.began.IsZero() {
		one.began = time.Now()
	}
}

func (s *steps) end(one *step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.took = time.Since(one.began)
}

// tookUnless is how long a connection took; nothing for one that was there.
func (s *steps) tookUnless(reused bool) (connect, secure time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if reused {
		return 0, 0
	}
	return s.dialled.took, s.secured.took
}
