//go:build unix

package failtest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

// Apps are restarted by a command, again and again: nothing fails, neither where
// a new process has a port of its own nor where there is one for all.
func TestNothingFailsWhileAppsAreRestarted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		instances int
		flags     []string
	}{
		"three":                    {3, nil},
		"one, on a port for each":  {1, []string{"--watch=" + os.Args[0]}},
		"one, on one port for all": {1, nil},
		"one, which speaks HTTP/2": {1, []string{"--app-protocol", "h2c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, c.instances, c.flags...)
			l := newLoad(t, f.callers(1)...)
			l.verbs = []string{"GET", "POST"}
			stop := l.keep("/a", workers)
			for range times(4, 100) {
				l.await(3 * workers)
				if out, status := f.w.Pillion("restart", "orders"); status != 0 {
					t.Fatalf("restart: exit %d: %s", status, out)
				}
			}
			l.await(3 * workers)
			stop()
			l.check(f.record(), nil)
		})
	}
}

// The app of the only instance is killed and comes back by itself: what was with
// it fails, or nothing if calls have a key.
func TestAnAppThatComesBackByItself(t *testing.T) {
	t.Parallel()
	for _, keys := range []bool{false, true} {
		t.Run(fmt.Sprint("keys ", keys), func(t *testing.T) {
			t.Parallel()
			for range times(1, 20) {
				f := newFleet(t, 1, "--restart", "always")
				l := newLoad(t, f.callers(1)...)
				l.keys = keys
				stop := l.keep("/a", workers)
				i := f.instances[0]
				for n := range 5 { // as often as it is started again
					l.await(12 * workers)
					f.kill(i, blow{app: true})
					pilliontest.Until(t, "it listens again", func() bool { return strings.Count(i.Said(), listens) == n+2 })
				}
				l.await(12 * workers)
				stop()
				if failed, _ := l.check(f.record(), f.deaths); keys && failed > 0 {
					t.Errorf("%d calls failed, the first: %v", failed, l.failed[0])
				}
				f.stop(i)
			}
		})
	}
}
