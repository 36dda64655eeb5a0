//go:build unix

package meshtest_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// A shot ends an instance the bad way. What it has killed is dead when it
// returns: a signal is on its way for a while, and the kernel takes bytes for a
// process that will not read them.
type shot func(t *testing.T, m *machine, victim *process)

func shootPillion(t *testing.T, _ *machine, victim *process) {
	t.Helper()
	victim.kill()
}

func shootApp(t *testing.T, m *machine, victim *process) {
	t.Helper()
	for _, i := range m.list() {
		if i.PID != victim.pid() {
			continue
		}
		if err := syscall.Kill(i.AppPID, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		until(t, "the app's port is closed", func() bool {
			conn, err := dialPlain(t.Context(), "tcp", fmt.Sprint("127.0.0.1:", i.AppPort))
			if err == nil {
				_ = conn.Close() // it was only knocked at
			}
			return err != nil
		})
	}
}

// rounds is how often an instance is killed: a few times, or many in the long
// form.
func rounds() int {
	if os.Getenv("PILLION_LONG") != "" {
		return 100
	}
	return 3
}

// Nothing is done twice and nothing fails in vain when one of three instances
// is killed while all its calls are with the app.
func TestOnlyWhatAnAppHasFailsWhenItsInstanceIsKilled(t *testing.T) {
	t.Parallel()
	for name, shoot := range map[string]shot{"pillion": shootPillion, "app": shootApp} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for round := range rounds() {
				t.Run(fmt.Sprint(round), func(t *testing.T) {
					l := newLoad(t)
					l.close()
					l.fire("/gate", 12)
					until(t, "every call is with an app", func() bool { return len(l.m.recorded()) == 12 })
					shoot(t, l.m, l.instances[0])
					l.fire("/a", 30) // while the others are at the gate
					l.open()
					l.wait()
					l.check(0)
				})
			}
		})
	}
}

// The same under a steady load, where a call may be on its way to the instance
// in the moment it dies: such a call fails and says that it may have arrived.
func TestNothingIsDoneTwiceWhenAnInstanceIsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	const workers = 8
	for name, shoot := range map[string]shot{"pillion": shootPillion, "app": shootApp} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for round := range rounds() {
				t.Run(fmt.Sprint(round), func(t *testing.T) {
					l := newLoad(t)
					stop := l.keep("/a", workers)
					l.answered(50)
					shoot(t, l.m, l.instances[0])
					l.answered(200)
					stop()
					l.wait()
					l.check(workers)
				})
			}
		})
	}
}

// A load is calls with IDs to three instances of one app.
type load struct {
	t         *testing.T
	m         *machine
	door      *door
	instances []*process
	ids       atomic.Int64
	good      atomic.Int64
	calls     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	results map[string]response
}

func newLoad(t *testing.T) *load {
	t.Helper()
	l := &load{t: t, m: newMachine(t), results: map[string]response{}}
	for i := range 3 {
		l.instances = append(l.instances, l.m.begin(appSpec{id: "orders", name: fmt.Sprint("n", i)}))
	}
	for _, p := range l.instances {
		p.ready()
	}
	_, l.door = l.m.caller("web")
	return l
}

// close lets calls to /gate wait in their app, open lets them go.
func (l *load) close() {
	l.t.Helper()
	if err := os.WriteFile(l.m.gateFile(), nil, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l *load) open() {
	l.t.Helper()
	if err := os.Remove(l.m.gateFile()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *load) post(path string) {
	id := fmt.Sprint(l.ids.Add(1))
	r := l.door.call("POST", "/v1.0/invoke/orders/method"+path, id, strings.NewReader("a body"))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results[id] = r
	if r.ok() {
		l.good.Add(1)
	}
}

// fire makes calls at once.
func (l *load) fire(path string, n int) {
	for range n {
		l.calls.Go(func() { l.post(path) })
	}
}

// keep makes calls until it is told to stop.
func (l *load) keep(path string, workers int) (stop func()) {
	over := make(chan struct{})
	for range workers {
		l.calls.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					l.post(path)
				}
			}
		})
	}
	return func() { close(over) }
}

// answered waits for so many more good answers.
func (l *load) answered(n int64) {
	l.t.Helper()
	want := l.good.Load() + n
	until(l.t, "calls are answered", func() bool { return l.good.Load() >= want })
}

func (l *load) wait() { l.calls.Wait() }

// check joins what callers heard with what apps wrote down. At most so many
// calls may have failed that no app has; each has to say that one might.
func (l *load) check(underWay int) {
	l.t.Helper()
	recorded := l.m.recorded()
	for id, names := range recorded {
		if len(names) > 1 {
			l.t.Errorf("call %s was done %d times, by %v", id, len(names), names)
		}
	}
	lost, failed := 0, 0
	for id, r := range l.results {
		if r.ok() {
			if len(recorded[id]) == 0 {
				l.t.Errorf("call %s was answered and no app has it", id)
			}
			continue
		}
		failed++
		_, meta := r.failure()
		if meta["reached"] == "no" {
			l.t.Errorf("call %s failed although it could have moved on: %v", id, r)
		}
		if len(recorded[id]) == 0 {
			lost++
			l.t.Logf("call %s failed and no app has it: %v", id, r)
		}
	}
	if lost > underWay {
		l.t.Errorf("%d calls failed that no app has, want at most %d", lost, underWay)
	}
	l.t.Logf("%d calls, %d failed, %d of them with no app", len(l.results), failed, lost)
}
