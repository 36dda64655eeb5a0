package soaktest_test

import (
	"os"
	"testing"
	"time"
)

// The names of the two builds.
const (
	plainName = "pillion"
	raceName  = "pillion-race"
)

// A load of everything at once, with callees that are restarted all the time,
// mixes nothing up and leaves nothing behind.
func TestLoadLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	soak(t, build(t, plainName))
}

// How much load there is: workers that make so many calls of each kind at
// least, and so many restarts of both callees in a window.
const (
	workers  = 6
	laps     = 3
	restarts = 2
)

// The long form: windows of a minute, for ten, or as long as the test may take
// with time left to end.
const (
	window  = time.Minute
	longest = 10 * time.Minute
	reserve = 2 * time.Minute
)

// A window's load goes on as long as its restarts do: more reports whether
// there is another one after n.
type more func(n int) bool

// windows calls f for each window of load.
func windows(t *testing.T, f func(more)) {
	t.Helper()
	if os.Getenv("PILLION_LONG") == "" {
		f(func(n int) bool { return n < restarts })
		return
	}
	end := time.Now().Add(longest)
	if last, ok := t.Deadline(); ok && last.Add(-reserve).Before(end) {
		end = last.Add(-reserve)
	}
	for time.Now().Before(end) && !t.Failed() {
		stop := time.Now().Add(window)
		f(func(n int) bool { return n < restarts || time.Now().Before(stop) })
	}
}

func soak(t *testing.T, pillion string) {
	m := newMachine(t, pillion)
	stay := map[string]*process{
		"web":      m.mustStart("web", alone),
		"pages":    m.mustStart("pages", page),
		"services": m.mustStart("services", service),
	}
	come := m.callees(t)
	l := &load{t: t, total: map[string]int{}}
	l.http, l.grpc = stay["web"].doors()

	l.run(come, func(n int) bool { return n < restarts }) // whatever is made once is made now
	l.rest(t)
	before := map[string]vitals{}
	for name, p := range stay {
		before[name] = p.rest(t)
		t.Logf("%-8s warm:  %v", name, before[name])
	}
	after := map[string][]vitals{}
	windows(t, func(again more) {
		l.run(come, again)
		l.rest(t)
		for name, p := range stay {
			p.returns(t, before[name])
			v := p.rest(t) // by now the pools have let go of what they kept
			after[name] = append(after[name], v)
			t.Logf("%-8s after: %v", name, v)
		}
	})
	for name, all := range after {
		flat(t, name, all)
	}
	come.stop(t)
	for _, p := range stay {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d restarts; %s", come.restarts, l.report())
}

// flat checks that what lives does not grow from window to window.
func flat(t *testing.T, name string, all []vitals) {
	t.Helper()
	const fewest = 6 // of fewer windows nothing can be said
	if len(all) < fewest {
		return
	}
	half := len(all) / 2
	mean := func(of []vitals) (heap, resident int) {
		for _, v := range of {
			heap, resident = heap+v.heap, resident+v.resident
		}
		return heap / len(of), resident / len(of)
	}
	heap1, resident1 := mean(all[:half])
	heap2, resident2 := mean(all[len(all)-half:])
	t.Logf("%-8s grew in the second half by %d KiB live, %d KiB resident", name, heap2-heap1, resident2-resident1)
	const someHeap, someResident = 512, 6 << 10 // KiB
	if heap2 > heap1+someHeap || resident2 > resident1+someResident {
		t.Errorf("%s grows: %v", name, all)
	}
}
