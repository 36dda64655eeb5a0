package stack_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
	"github.com/pillion-dev/pillion/runtime/stack"
)

// A script is how each app goes, by its ID: stories of the command line run the
// real ones. It notes what happens.
type script struct {
	apps map[string]part

	mu    sync.Mutex // guards what follows
	notes []string
}

// A part is how one app goes.
type part struct {
	fails error         // it cannot be started
	binds time.Duration // how long it takes to have its ports
	ready time.Duration // how long to be ready after that; 0: never
	ends  time.Duration // when it ends by itself; 0: never
	exit  int
	stale []string // what is told of its sources, once it is ready
}

func (s *script) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, text)
}

// run stands for sidecar.Run.
func (s *script) run(ctx context.Context, cfg config.Sidecar, env sidecar.Env) (int, error) {
	p := s.apps[cfg.AppID]
	s.note(cfg.AppID + " begins")
	time.Sleep(p.binds)
	if p.fails != nil {
		return 0, p.fails
	}
	if env.Watch.Bound != nil {
		env.Watch.Bound(sidecar.Ports{})
		env.Watch.State(discovery.Starting)
	}
	after := func(d time.Duration) <-chan time.Time {
		if d == 0 {
			return nil
		}
		return time.After(d)
	}
	ready, ends, itself := after(p.ready), after(p.ends), false
	for over := false; !over; {
		select {
		case <-ready:
			s.note(cfg.AppID + " is ready")
			env.Watch.State(discovery.Ready)
			for _, why := range p.stale {
				env.Watch.Stale(why)
			}
		case <-ends:
			over, itself = true, true
		case <-ctx.Done():
			over = true
		}
	}
	s.note(cfg.AppID + " ends")
	if env.Watch.Ended != nil {
		env.Watch.Ended(sidecar.End{Exit: p.exit, Itself: itself})
	}
	return p.exit, nil
}

// stack is the apps of the script by their IDs; those with a port have one.
func (s *script) stack(ids ...string) stack.Stack {
	out := stack.Stack{Run: s.run, Environ: []string{"GOGC=100", "GOMAXPROCS=1"}}
	for _, id := range ids {
		cfg := config.Sidecar{AppID: id}
		if s.apps[id].ready > 0 {
			cfg.AppPort = 1
		}
		out.Apps = append(out.Apps, stack.App{Config: cfg})
	}
	return out
}

func TestAppsGetTheirPortsInOrderAndStartTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{apps: map[string]part{
			"a": {binds: 10 * time.Millisecond, ready: time.Minute, ends: time.Hour},
			"b": {binds: time.Millisecond, ready: time.Second, ends: time.Hour},
			"c": {ready: 2 * time.Hour, ends: 3 * time.Hour},
		}}
		r := stack.Run(t.Context(), s.stack("a", "b", "c"))
		want := []string{
			"a begins", "b begins", "c begins", "b is ready", "a is ready", "a ends", "b ends", "c is ready", "c ends",
		}
		if diff := cmp.Diff(want, s.notes); diff != "" {
			t.Errorf("what happened (-want +got):\n%s", diff)
		}
		if r.Interrupted || slices.ContainsFunc(r.Apps, stack.Status.Failed) {
			t.Errorf("got %+v", r)
		}
	})
}

func TestWhatIsStaleIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{apps: map[string]part{
			"a": {ready: time.Second, ends: time.Minute},
			"b": {ready: time.Second, ends: time.Minute, stale: []string{"not built", "not built again", ""}},
		}}
		run := s.stack("a", "b")
		var mu sync.Mutex
		told := map[int][]string{}
		run.Changed = func(i int, now stack.Status) {
			mu.Lock()
			defer mu.Unlock()
			if last := told[i]; len(last) == 0 || last[len(last)-1] != now.Stale {
				told[i] = append(last, now.Stale)
			}
		}
		stack.Run(t.Context(), run)
		want := map[int][]string{0: {""}, 1: {"", "not built", "not built again", ""}}
		if diff := cmp.Diff(want, told); diff != "" {
			t.Errorf("what was told (-want +got):\n%s", diff)
		}
	})
}

func TestTheCommandRunsBetweenReadyAndStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{apps: map[string]part{
			"a": {ready: time.Second}, "seed": {ends: time.Millisecond}, "worker": {},
			"cmd": {ends: time.Minute, exit: 7},
		}}
		run := s.stack("a", "seed", "worker")
		run.Command = &stack.App{Config: config.Sidecar{AppID: "cmd"}}
		r := stack.Run(t.Context(), run)
		if !r.Commanded || r.Exit != 7 || r.Err != nil || r.Late != nil {
			t.Errorf("got %+v", r)
		}
		at := func(note string) int { return slices.Index(s.notes, note) }
		if at("a is ready") > at("cmd begins") || at("cmd ends") > at("a ends") || at("cmd ends") > at("worker ends") {
			t.Errorf("what happened: %q", s.notes)
		}
	})
}

func TestWhoIsNotReadyIsNamedAndTheCommandDoesNotRun(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		late part
		took time.Duration
	}{
		"too slow":                {part{ready: time.Hour}, config.DefaultStartHold},
		"ended badly":             {part{ready: time.Hour, ends: time.Second, exit: 1}, time.Second},
		"ended well, with a port": {part{ready: time.Hour, ends: time.Second}, time.Second},
		"without a port, badly":   {part{ends: time.Nanosecond, exit: 1}, 0},
		"not to be started":       {part{fails: errors.New("no")}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &script{apps: map[string]part{"a": {ready: time.Second / 2}, "b": c.late}}
				run := s.stack("a", "b")
				run.Command = &stack.App{Config: config.Sidecar{AppID: "cmd"}}
				began := time.Now()
				r := stack.Run(t.Context(), run)
				if r.Commanded || !slices.Contains(r.Late, 1) || slices.Contains(s.notes, "cmd begins") {
					t.Errorf("got %+v", r)
				}
				if got := time.Since(began); got < c.took || got > c.took+time.Second {
					t.Errorf("took %v, want %v", got, c.took)
				}
			})
		})
	}
}

func TestOneThatCannotBeStartedStopsTheOthersAndOneThatEndsDoesNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		no := errors.New("no")
		s := &script{apps: map[string]part{"a": {}, "b": {fails: no}}}
		r := stack.Run(t.Context(), s.stack("a", "b"))
		if !errors.Is(r.Apps[1].Err, no) || r.Apps[0].End == nil || r.Apps[0].Failed() {
			t.Errorf("got %+v", r)
		}

		s = &script{apps: map[string]part{"a": {ends: time.Hour}, "b": {ends: time.Second, exit: 1}}}
		began := time.Now()
		r = stack.Run(t.Context(), s.stack("a", "b"))
		if !r.Apps[1].Failed() || r.Apps[0].Failed() || time.Since(began) != time.Hour {
			t.Errorf("got %+v after %v", r, time.Since(began))
		}
	})
}

func TestAnInterruptedStackStopsItsAppsAndRunsNoCommand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{apps: map[string]part{"a": {}, "b": {ready: time.Hour}}}
		run := s.stack("a", "b")
		run.Command = &stack.App{Config: config.Sidecar{AppID: "cmd"}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := stack.Run(ctx, run)
		if !r.Interrupted || r.Commanded || slices.Contains(s.notes, "cmd begins") || r.Apps[0].Failed() {
			t.Errorf("got %+v", r)
		}
	})
}

// Every app, and the command, knows that the others come: a call to one whose
// sidecar is not there yet waits for it.
func TestAppsExpectEachOther(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	expected := map[string][]discovery.Key{}
	run := func(ctx context.Context, cfg config.Sidecar, env sidecar.Env) (int, error) {
		mu.Lock()
		expected[cfg.AppID] = env.Expected
		mu.Unlock()
		if cfg.AppID != "tests" {
			env.Watch.Bound(sidecar.Ports{})
			env.Watch.State(discovery.Ready)
			<-ctx.Done()
		}
		return 0, nil
	}
	app := func(id string) stack.App { return stack.App{Config: config.Sidecar{AppID: id, Namespace: "shop"}} }
	command := app("tests")
	result := stack.Run(t.Context(), stack.Stack{Run: run, Apps: []stack.App{app("a"), app("b")}, Command: &command})
	if !result.Commanded || result.Err != nil {
		t.Fatalf("result: %+v", result)
	}
	all := []discovery.Key{{Namespace: "shop", App: "a"}, {Namespace: "shop", App: "b"}}
	want := map[string][]discovery.Key{"a": all, "b": all, "tests": all}
	if diff := cmp.Diff(want, expected); diff != "" {
		t.Error(diff)
	}
}
