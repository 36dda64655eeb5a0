//go:build unix

package failtest_test

import (
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

// A caller may be there before its callee, if that ran once before: the first
// calls wait for it.
func TestTheFirstCallsWaitForACalleeThatStartsLater(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		first func(*fleet) (doors []string)
	}{
		{"it ran before its caller", func(f *fleet) []string {
			f.once()
			return f.callers(1)
		}},
		{"it ran beside its caller", func(f *fleet) []string {
			doors := f.callers(1)
			f.once()
			return doors
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 0)
			l := newLoad(t, c.first(f)...)
			l.verbs = []string{"GET", "POST"}
			began, early := time.Now(), time.Duration(times(0, 5))*time.Second
			l.fire("/a", workers)
			pilliontest.Until(t, "the calls are with the caller's sidecar", func() bool {
				return l.sent.Load() == workers && time.Since(began) >= early
			})
			f.begin().ready()
			l.calls.Wait()
			l.check(f.record(), nil)
		})
	}
}

// once lets an instance run until it is ready. Nobody calls it.
func (f *fleet) once() {
	f.t.Helper()
	i := f.begin()
	i.ready()
	f.stop(i)
}
