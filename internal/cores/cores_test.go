package cores_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/internal/cores"
)

// A machine uses CPU time at a rate that a test sets.
type machine struct {
	mu    sync.Mutex
	used  time.Duration
	at    time.Time
	load  float64
	cores int
	set   []int
}

func newMachine() *machine { return &machine{at: time.Now(), cores: 4} }

func (m *machine) advance() {
	now := time.Now()
	m.used += time.Duration(float64(now.Sub(m.at)) * min(m.load, float64(m.cores)))
	m.at = now
}

func (m *machine) Used() (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance()
	return m.used, true
}

func (m *machine) Set(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance()
	before := m.cores
	if n > 0 {
		m.cores = n
		m.set = append(m.set, n)
	}
	return before
}

func (m *machine) run(load float64, d time.Duration) int {
	m.mu.Lock()
	m.advance()
	m.load = load
	m.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cores
}

func TestTheCoresFollowTheLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := (cores.Governor{Used: m.Used, Set: m.Set}).Run(ctx); err != nil {
				t.Error(err)
			}
		})
		for _, step := range []struct {
			load  float64
			lasts time.Duration
			want  int
		}{
			{0, 5 * time.Second, 1},
			{0.7, 5 * time.Second, 1},   // one core is enough
			{1.5, 3 * time.Second, 2},   // two are needed
			{8, 3 * time.Second, 4},     // all there are
			{1.5, 10 * time.Second, 3},  // two would be more than 60 % full
			{0.05, 10 * time.Second, 1}, // none is needed
		} {
			if got := m.run(step.load, step.lasts); got != step.want {
				t.Errorf("at a load of %v: %d cores, want %d", step.load, got, step.want)
			}
		}
		stop()
		wg.Wait()
		if m.cores != 4 {
			t.Errorf("%d cores afterwards, want the 4 of before", m.cores)
		}
	})
}

func TestWithoutAClockNothingChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		untold := func() (time.Duration, bool) { return 0, false }
		if err := (cores.Governor{Used: untold, Set: m.Set}).Run(ctx); err != nil {
			t.Error(err)
		}
		if len(m.set) > 0 {
			t.Errorf("set to %v", m.set)
		}
	})
}

func TestTheSystemTellsTheTimeUsed(t *testing.T) {
	t.Parallel()
	// The load of this test itself is enough: the governor ends at once.
	ctx, stop := context.WithCancel(t.Context())
	stop()
	asked := 0
	g := cores.Governor{Most: 2, Set: func(n int) int { asked++; return 2 }}
	if err := g.Run(ctx); err != nil || asked < 2 {
		t.Errorf("asked %d times, %v: the CPU time is not told here", asked, err)
	}
}
