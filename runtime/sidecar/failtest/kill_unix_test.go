//go:build unix

package failtest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

// blows are the three ways in which an instance may be killed.
var blows = map[string]blow{"app": {app: true}, "pillion": {pillion: true}, "both": {app: true, pillion: true}}

// workers is how many calls a load has under way.
const workers = 8

// Instances are killed at random points of the calls they have. Nothing is done
// twice, and nothing fails but what was with the dead.
func TestOnlyWhatWasWithTheDeadFails(t *testing.T) {
	t.Parallel()
	for name, b := range blows {
		for _, n := range []int{3, 1} {
			t.Run(fmt.Sprintf("%s, one of %d", name, n), func(t *testing.T) {
				t.Parallel()
				f := newFleet(t, n)
				l := newLoad(t, f.callers(1)...)
				stop := l.keep("/a", workers)
				f.killAtRandom(l, b, 1)
				stop()
				l.check(f.record(), f.deaths)
			})
		}
	}
}

// The same with an Idempotency-Key for each call and apps that know a call by
// it: nothing fails at all, and nothing is done twice.
func TestNothingFailsThatHasAKey(t *testing.T) {
	t.Parallel()
	for name, b := range blows {
		for _, n := range []int{3, 1} {
			t.Run(fmt.Sprintf("%s, one of %d", name, n), func(t *testing.T) {
				t.Parallel()
				f := newFleet(t, n)
				l := newLoad(t, f.callers(1)...)
				l.keys = true
				stop := l.keep("/a", workers)
				f.killAtRandom(l, b, 12*workers) // a twelfth is repeated, a fifth may be
				stop()
				if failed, _ := l.check(f.record(), f.deaths); failed > 0 {
					t.Errorf("%d calls failed, the first: %v", failed, l.failed[0])
				}
			})
		}
	}
}

// killAtRandom kills instances at random points of a load, each after the last
// one has been replaced and at least so many calls have been answered.
func (f *fleet) killAtRandom(l *load, b blow, least int) {
	f.t.Helper()
	for range times(15, 1000) {
		l.await(least + rand.IntN(3*workers))
		time.Sleep(rand.N(time.Millisecond)) // an answer has just come: any point but that
		i := rand.IntN(len(f.instances))
		f.kill(f.instances[i], b)
		f.instances[i] = f.begin()
		f.instances[i].ready()
	}
	l.await(10 * workers)
}

// Nothing is done twice and nothing fails in vain when one of three instances
// is killed while all its calls are with the app.
func TestOnlyWhatAnAppHasFailsWhenItsInstanceIsKilled(t *testing.T) {
	t.Parallel()
	for name, b := range blows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range times(3, 100) {
				t.Run("round", func(t *testing.T) {
					f := newFleet(t, 3)
					l := newLoad(t, f.callers(1)...)
					f.close()
					l.fire("/gate", 12)
					pilliontest.Until(t, "every call is with an app", func() bool { return len(recorded(t, f.record())) == 12 })
					f.kill(f.instances[0], b)
					l.fire("/a", 30) // while the others are at the gate
					f.open()
					l.calls.Wait()
					if failed, lost := l.check(f.record(), f.deaths); failed == 0 || lost > 0 {
						t.Errorf("%d calls failed, %d of them that no app has", failed, lost)
					}
				})
			}
		})
	}
}

// close lets calls to /gate wait in their app, open lets them go.
func (f *fleet) close() {
	f.t.Helper()
	if err := os.WriteFile(f.gate(), nil, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) open() {
	f.t.Helper()
	if err := os.Remove(f.gate()); err != nil {
		f.t.Fatal(err)
	}
}
