//go:build unix

package failtest_test

import (
	"fmt"
	"testing"

	"github.com/pillion-dev/pillion/internal/pilliontest"
)

// Instances are stopped and replaced one after another under load: nothing
// fails, also not if there is only one of them.
func TestNothingFailsWhileInstancesAreReplaced(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, n)
			l := newLoad(t, f.callers(3)...)
			l.verbs = []string{"GET", "POST"}
			stop := l.keep("/a", 2*workers)
			for range times(9, 300) {
				l.await(workers)
				f.stop(f.instances[0])
				f.instances = append(f.instances[1:], f.begin())
				f.instances[n-1].ready()
			}
			l.await(workers)
			stop()
			l.check(f.record(), nil)
		})
	}
}

// stop ends an instance the good way, from another terminal.
func (f *fleet) stop(i *instance) {
	f.t.Helper()
	if out, status := f.w.Pillion("stop", "orders/"+f.find(i).Instance); status != 0 {
		f.t.Errorf("stop: exit %d: %s", status, out)
	}
	i.Wait(f.t)
}

// find is what is listed of an instance.
func (f *fleet) find(i *instance) pilliontest.Instance {
	f.t.Helper()
	all, err := f.w.List()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, listed := range all {
		if listed.PID == i.PID() {
			return listed
		}
	}
	f.t.Fatalf("%s is not in the list: %+v", i.name, all)
	return pilliontest.Instance{}
}
