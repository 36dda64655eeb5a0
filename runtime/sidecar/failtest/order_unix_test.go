//go:build unix

package failtest_test

import (
	"os"
	"path/filepath"
	"slices"
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
				return l.with(workers) && time.Since(began) >= early
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

// An app that starts is waited for by as many calls as may be held, whatever
// small bodies they have.
func TestManyCallsWaitForOneApp(t *testing.T) {
	t.Parallel()
	const calls = 900
	f := newFleet(t, 0)
	sign := filepath.Join(f.w.Dir, "open")
	w := f.w.With(roleEnv+"=app", nameEnv+"=late", recordEnv+"="+f.record(), "SIGN="+sign, "APP="+os.Args[0])
	args := slices.Concat([]string{"run", "--app-id", "orders", "--app-port", "auto"}, patient, []string{
		"--", "sh", "-c", `until [ -e "$SIGN" ]; do sleep 0.05; done; exec "$APP"`,
	})
	callee := w.Begin("orders", args...)
	pilliontest.Until(t, "it is listed", func() bool {
		all, err := f.w.List()
		return err == nil && len(all) == 1 && all[0].PID == callee.PID()
	})
	l := newLoad(t, f.callers(1)...)
	l.fire("/a", calls)
	pilliontest.Until(t, "the calls are with the caller's sidecar", func() bool { return l.with(calls) })
	f.w.Write("open", "")
	l.calls.Wait()
	l.check(f.record(), nil)
}
