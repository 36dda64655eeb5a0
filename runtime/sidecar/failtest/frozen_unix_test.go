//go:build unix

package failtest_test

import (
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

const timeout = `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: mine
spec:
  policies:
    timeouts: {short: 20s}
  targets:
    apps:
      orders: {timeout: short}
`

// The app of one of three instances is frozen under a policy's time-out. Of the
// calls that come later only those that try whether it does better meet it, one
// in each time that it is left out. Once it goes on it gets calls again.
func TestAFrozenAppIsTriedByOneCallAtATime(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	web := f.caller("--resources-path", filepath.Dir(f.w.Write("policies/timeout.yaml", timeout)))
	l := newLoad(t, web.HTTP)
	stop := l.keep("/a", workers/2)
	trials := times(0, 2)
	found := f.freeze(l, web, f.instances[0].app(), 1+trials)
	stop()
	outs := leftOut(web) // more often than waited for, if the machine is slow
	l.check(f.record(), []span{{to: time.Now()}})
	l.since(found, outs-1, outs-1)
}

// The sidecar of one of three instances is frozen, with no policy. The pings of
// its callers find it; later calls go elsewhere, but for those that try it.
func TestAFrozenSidecarIsFound(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	web := f.caller()
	l := newLoad(t, web.HTTP)
	l.verbs = []string{"GET", "POST"}
	stop := l.keep("/a", workers)
	found := f.freeze(l, web, f.instances[0].PID(), 1)
	stop()
	l.check(f.record(), []span{{to: time.Now()}})
	l.since(found, 0, leftOut(web)-1)
	for _, failed := range l.failed {
		if failed.verb == "GET" {
			t.Errorf("it could have been made again: %v", failed)
		}
	}
}

// freeze stops a process of the first instance under load, lets it go on once it
// has been left out so many times, and returns once it gets calls again: when it
// was found.
func (f *fleet) freeze(l *load, web *pilliontest.Sidecar, pid, outs int) (found time.Time) {
	f.t.Helper()
	l.await(10 * workers)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		f.t.Fatal(err)
	}
	thaw := func() { _ = syscall.Kill(pid, syscall.SIGCONT) } // it may have ended
	f.t.Cleanup(thaw)
	pilliontest.Until(f.t, "it is found", func() bool { return leftOut(web) > 0 })
	found = time.Now()
	pilliontest.Until(f.t, "it is tried in vain", func() bool { return leftOut(web) >= outs })
	l.await(50 * workers)
	thaw()
	name := f.instances[0].name
	before := callsOf(recorded(f.t, f.record()), name)
	pilliontest.Until(f.t, "it gets calls again", func() bool {
		return callsOf(recorded(f.t, f.record()), name) > before+5*workers
	})
	return found
}

// leftOut is how often a caller has left an instance out.
func leftOut(web *pilliontest.Sidecar) int { return strings.Count(web.Said(), "instance left out") }

// callsOf is how many calls an instance has.
func callsOf(record map[string][]string, name string) (n int) {
	for _, names := range record {
		if slices.Contains(names, name) {
			n++
		}
	}
	return n
}

// since checks the calls made after a time: at most so many failed, and so many
// were answered at another attempt than the first.
func (l *load) since(at time.Time, failures, more int) {
	l.t.Helper()
	var late []failure
	for _, f := range l.failed {
		if f.began.After(at) {
			late = append(late, f)
		}
	}
	if len(late) > failures {
		l.t.Errorf("%d later calls failed, want %d at most: %v", len(late), failures, late)
	}
	moved := 0
	for _, began := range l.moved {
		if began.After(at) {
			moved++
		}
	}
	if moved > more {
		l.t.Errorf("%d later calls took more than one attempt, want %d at most", moved, more)
	}
}
