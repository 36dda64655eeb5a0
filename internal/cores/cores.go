// Package cores decides on how many cores a program's Go code runs at once.
//
// A program that mostly passes bytes on is cheaper on one core than on many:
// there a goroutine that wakes another hands over in a third of a microsecond,
// where with an idle second core each wake-up is a system call and a thread
// that looks for work in vain. Measured with two sidecars and one connection:
// 240 µs of CPU a call on one core, 390 µs on two. So a Governor begins with
// one core and takes more only while they are needed.
package cores

import (
	"context"
	"runtime"
	"time"
)

// How a Governor looks at the load.
const (
	// busyTick is how often it looks while there is load, idleTick how often
	// without.
	busyTick = 100 * time.Millisecond
	idleTick = time.Second
	// full is the use of the present cores from which on one more is taken.
	full = 0.85
	// spare is the use of one core less below which one is given back, once
	// that has been so for calm.
	spare = 0.60
	calm  = 2 * time.Second
	// some is the use that counts as load.
	some = 0.10
)

// A Governor sets runtime.GOMAXPROCS to what the load needs. There should be
// one in a process.
type Governor struct {
	// Most is the limit; 0 is what the runtime chose at start, which knows the
	// machine's cores and the limits of a container.
	Most int
	// Used is the CPU time the process has used so far; nil asks the system.
	Used func() (time.Duration, bool)
	// Set is runtime.GOMAXPROCS; for tests.
	Set func(int) int
}

// Run governs until ctx ends, and restores what was set before. Where the
// system does not tell the CPU time it changes nothing.
func (g Governor) Run(ctx context.Context) error {
	if g.Used == nil {
		g.Used = cpuTime
	}
	if g.Set == nil {
		g.Set = runtime.GOMAXPROCS
	}
	before := g.Set(0)
	if g.Most <= 0 {
		g.Most = before
	}
	if _, told := g.Used(); !told || g.Most < 2 {
		<-ctx.Done()
		return nil
	}
	defer g.Set(before)
	g.Set(1)
	g.govern(ctx)
	return nil
}

func (g Governor) govern(ctx context.Context) {
	cores, tick := 1, busyTick
	used, _ := g.Used()
	at := time.Now()
	calmSince := at
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		total, told := g.Used()
		now := time.Now()
		if !told {
			timer.Reset(idleTick)
			continue
		}
		load := float64(total-used) / float64(max(now.Sub(at), time.Millisecond))
		used, at = total, now
		if load > spare*float64(cores-1) {
			calmSince = now
		}
		switch {
		case load >= full*float64(cores) && cores < g.Most:
			cores++
			g.Set(cores)
		case cores > 1 && now.Sub(calmSince) >= calm:
			cores--
			g.Set(cores)
			calmSince = now
		}
		tick = idleTick
		if load >= some || cores > 1 {
			tick = busyTick
		}
		timer.Reset(tick)
	}
}
