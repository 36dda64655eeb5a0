package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/discovery"
)

var orders = discovery.Key{Namespace: "default", App: "orders"}

// A table is a Source that knows what it is told.
type table struct {
	name string

	mu        sync.Mutex // guards what follows
	version   uint64
	known     []discovery.Endpoint
	lookups   int
	refreshes int
	dead      string // an instance that vanishes at the next Refresh
}

func (s *table) Name() string { return s.name }

func (s *table) Version() uint64 { s.mu.Lock(); defer s.mu.Unlock(); return s.version }

func (s *table) Lookup(key discovery.Key) []discovery.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookups++
	return slices.DeleteFunc(slices.Clone(s.known), func(e discovery.Endpoint) bool { return e.Key != key })
}

func (s *table) All() []discovery.Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.known)
}

func (s *table) Refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshes++
	s.known = slices.DeleteFunc(s.known, func(e discovery.Endpoint) bool { return e.Instance == s.dead })
}

func (s *table) set(known ...discovery.Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = known
	s.version++
}

// A network is a table that can be asked: it answers after a delay.
type network struct {
	table
	delay time.Duration
	finds []discovery.Endpoint
	asked int
}

func (n *network) Ask(ctx context.Context, _ discovery.Key) error {
	n.mu.Lock()
	n.asked++
	n.mu.Unlock()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(n.delay):
	}
	if len(n.finds) > 0 {
		n.set(n.finds...)
	}
	return nil
}

func (n *network) asks() int { n.mu.Lock(); defer n.mu.Unlock(); return n.asked }

func at(id, addr string) discovery.Endpoint {
	return discovery.Endpoint{
		Key: orders, Instance: id, State: discovery.Ready,
		Addrs: []netip.AddrPort{netip.MustParseAddrPort(addr)},
	}
}

func ids(endpoints []discovery.Endpoint) string {
	var s []string
	for _, e := range endpoints {
		s = append(s, e.Instance+"/"+e.Source)
	}
	return fmt.Sprint(s)
}

func find(t *testing.T, r *discovery.Resolver, key discovery.Key) []discovery.Endpoint {
	t.Helper()
	got, err := r.Endpoints(t.Context(), key)
	if err != nil {
		t.Fatalf("Endpoints(%v) = %v", key, err)
	}
	return got
}

func TestTheFirstSourceIsBelievedAboutAnInstance(t *testing.T) {
	t.Parallel()
	local, mdns, static := &table{name: "local"}, &table{name: "mdns"}, &table{name: "static"}
	local.set(at("a", "127.0.0.1:1"))
	mdns.set(at("a", "10.0.0.1:1"), at("b", "10.0.0.2:2"))
	static.set(at("", "10.0.0.2:2"), at("", "10.0.0.3:3"))
	r := discovery.New(discovery.Options{Sources: []discovery.Source{local, mdns, static}})
	got := find(t, r, orders)
	if want := "[a/local b/mdns /static]"; ids(got) != want {
		t.Errorf("Endpoints = %s, want %s", ids(got), want)
	}
}

func TestAKnownNameIsReadFromTheTable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &table{name: "local"}
		s.set(at("a", "127.0.0.1:1"))
		r := discovery.New(discovery.Options{Sources: []discovery.Source{s}})
		for range 1000 {
			find(t, r, orders)
		}
		if s.lookups > 2 {
			t.Errorf("a thousand look-ups within the table's age asked the source %d times", s.lookups)
		}
		s.set(at("b", "127.0.0.1:2"))
		if got := find(t, r, orders); ids(got) != "[a/local]" {
			t.Errorf("within the table's age: %s, want the table's", ids(got))
		}
		time.Sleep(10 * time.Millisecond)
		if got := find(t, r, orders); ids(got) != "[b/local]" {
			t.Errorf("after 10 ms: %s, want the new one", ids(got))
		}
		lookups := s.lookups
		for range 10 {
			time.Sleep(20 * time.Millisecond)
			find(t, r, orders)
		}
		if s.lookups != lookups {
			t.Error("an unchanged source was looked through again")
		}
	})
}

func TestANameThatAppearsIsFoundAtTheNextLookUp(t *testing.T) {
	t.Parallel()
	s := &table{name: "local"}
	r := discovery.New(discovery.Options{Sources: []discovery.Source{s}})
	if got := find(t, r, orders); len(got) != 0 {
		t.Fatalf("Endpoints of nobody = %s", ids(got))
	}
	if r.Known(orders) {
		t.Error("nobody is known")
	}
	s.set(at("a", "127.0.0.1:1"))
	if got := find(t, r, orders); ids(got) != "[a/local]" {
		t.Errorf("Endpoints = %s, want the one that appeared", ids(got))
	}
	if !r.Known(orders) {
		t.Error("an app with an instance is not known")
	}
}

func TestANameNobodyHasSeenCostsOnePatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &network{table: table{name: "mdns"}, delay: 40 * time.Millisecond}
		r := discovery.New(discovery.Options{Sources: []discovery.Source{n}})
		start := time.Now()
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if got := find(t, r, orders); len(got) != 0 {
					t.Errorf("Endpoints = %s, want none", ids(got))
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took > 50*time.Millisecond {
			t.Errorf("not found after %v, want at most 50 ms", took)
		}
		if n.asks() != 1 {
			t.Errorf("fifty callers asked the network %d times, want once", n.asks())
		}
		if len(r.Keys()) > 1 {
			t.Errorf("the table keeps %v", r.Keys())
		}
	})
}

func TestWithoutANetworkToAskAnUnknownNameIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := discovery.New(discovery.Options{Sources: []discovery.Source{&table{name: "local"}}})
		start := time.Now()
		for i := range 20000 {
			find(t, r, discovery.Key{Namespace: "default", App: fmt.Sprint("nobody", i)})
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v, want no time", took)
		}
		if n := len(r.Keys()); n != 0 {
			t.Errorf("%d names that do not exist are kept", n)
		}
	})
}

func TestWhatTheNetworkFindsEndsTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &network{table: table{name: "mdns"}, delay: 3 * time.Millisecond, finds: []discovery.Endpoint{at("a", "10.0.0.1:1")}}
		r := discovery.New(discovery.Options{Sources: []discovery.Source{&table{name: "local"}, n}})
		start := time.Now()
		if got := find(t, r, orders); ids(got) != "[a/mdns]" {
			t.Errorf("Endpoints = %s, want what was found", ids(got))
		}
		if took := time.Since(start); took > 8*time.Millisecond {
			t.Errorf("took %v of a 3 ms answer", took)
		}
	})
}

// One source's slow question does not hold up what another one sees.
func TestAnotherSourceEndsTheWaitToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local := &table{name: "local"}
		n := &network{table: table{name: "mdns"}, delay: 250 * time.Millisecond}
		r := discovery.New(discovery.Options{Sources: []discovery.Source{local, n}})
		time.AfterFunc(20*time.Millisecond, func() { local.set(at("a", "127.0.0.1:1")) })
		start := time.Now()
		if got := find(t, r, orders); ids(got) != "[a/local]" {
			t.Errorf("Endpoints = %s, want the one that started", ids(got))
		}
		if took := time.Since(start); took > 30*time.Millisecond {
			t.Errorf("took %v, want about 20 ms", took)
		}
	})
}

func TestADeclaredNameIsKnownAndAskedForWhileSomebodyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &network{table: table{name: "mdns"}, delay: 40 * time.Millisecond}
		r := discovery.New(discovery.Options{
			Sources: []discovery.Source{n}, Namespace: "default",
			Declared: []discovery.Key{{App: "orders"}},
		})
		if !r.Known(orders) {
			t.Error("a declared app is not known")
		}
		start := time.Now()
		find(t, r, orders)
		if took := time.Since(start); took != 0 {
			t.Errorf("Endpoints of a known app took %v: how long to wait is the caller's to decide", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := r.Changed(ctx, orders, r.Version(orders)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Changed = %v, want the deadline", err)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("waited %v, want 10s", took)
		}
		if n.asks() < 8 || n.asks() > 20 {
			t.Errorf("asked %d times in 10 s, want some, at growing intervals", n.asks())
		}
	})
}

func TestTheCallersContextEndsTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &network{table: table{name: "mdns"}, delay: 250 * time.Millisecond}
		r := discovery.New(discovery.Options{Sources: []discovery.Source{n}})
		cause := errors.New("client gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(5*time.Millisecond, func() { cancel(cause) })
		start := time.Now()
		if _, err := r.Endpoints(ctx, orders); !errors.Is(err, cause) {
			t.Errorf("Endpoints = %v, want the context's cause", err)
		}
		if took := time.Since(start); took != 5*time.Millisecond {
			t.Errorf("took %v, want 5 ms", took)
		}
	})
}

// Whoever asks may leave; those who joined the question still get an answer.
func TestAQuestionOutlivesTheCallerWhoAskedIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &network{table: table{name: "mdns"}, delay: 40 * time.Millisecond, finds: []discovery.Endpoint{at("a", "10.0.0.1:1")}}
		r := discovery.New(discovery.Options{Sources: []discovery.Source{n}})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _, _ = r.Endpoints(ctx, orders) })
		synctest.Wait()
		all.Go(func() {
			if got := find(t, r, orders); ids(got) != "[a/mdns]" {
				t.Errorf("Endpoints = %s, want what was found", ids(got))
			}
		})
		synctest.Wait()
		cancel()
		all.Wait()
	})
}

func TestAFailedInstanceIsLeftOutUntilItsSourceSaysSomethingNew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &table{name: "local"}
		s.set(at("a", "127.0.0.1:1"), at("b", "127.0.0.1:2"))
		r := discovery.New(discovery.Options{Sources: []discovery.Source{s}})
		before := find(t, r, orders)
		r.Failed(before[0])
		if got := find(t, r, orders); ids(got) != "[b/local]" {
			t.Fatalf("after Failed: %s, want b alone", ids(got))
		}
		if ids(before) != "[a/local b/local]" {
			t.Errorf("the slice given out before was changed: %s", ids(before))
		}
		if s.refreshes == 0 {
			t.Error("the source was not made to read again")
		}
		// An unrelated change is no news of a.
		s.set(at("a", "127.0.0.1:1"), at("b", "127.0.0.1:2"), at("c", "127.0.0.1:3"))
		time.Sleep(10 * time.Millisecond)
		if got := find(t, r, orders); ids(got) != "[b/local c/local]" {
			t.Errorf("after an unrelated change: %s", ids(got))
		}
		moved := at("a", "127.0.0.1:9")
		s.set(moved, at("b", "127.0.0.1:2"))
		time.Sleep(10 * time.Millisecond)
		if got := find(t, r, orders); ids(got) != "[a/local b/local]" {
			t.Errorf("after it moved: %s, want it back", ids(got))
		}
	})
}

func TestAFailedInstanceRestsLongerEachTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &table{name: "local"}
		s.set(at("a", "127.0.0.1:1"))
		r := discovery.New(discovery.Options{Sources: []discovery.Source{s}})
		var last time.Duration
		for i := range 4 {
			found := find(t, r, orders)
			if len(found) != 1 {
				t.Fatalf("round %d: %s, want a", i, ids(found))
			}
			for range 20 {
				r.Failed(found[0]) // twenty calls, one cause
			}
			if !r.Known(orders) {
				t.Error("an app with a failing instance is not known any more")
			}
			version, start := r.Version(orders), time.Now()
			if _, err := r.Changed(t.Context(), orders, version); err != nil {
				t.Fatal(err)
			}
			rest := time.Since(start)
			if rest <= last || rest > 10*time.Second {
				t.Errorf("round %d: back after %v, the time before it was %v", i, rest, last)
			}
			last = rest
		}
	})
}

func TestAKilledInstanceIsGoneAfterItsFirstFailure(t *testing.T) {
	t.Parallel()
	s := &table{name: "local", dead: "a"}
	s.set(at("a", "127.0.0.1:1"))
	r := discovery.New(discovery.Options{Sources: []discovery.Source{s}})
	r.Failed(find(t, r, orders)[0])
	if r.Known(orders) {
		t.Error("a killed instance keeps its app known")
	}
}

func TestChangedWakesEverybodyWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &table{name: "local"}
		r := discovery.New(discovery.Options{Sources: []discovery.Source{s}})
		start := time.Now()
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				version, err := r.Changed(t.Context(), orders, r.Version(orders))
				if err != nil || version == 0 {
					t.Errorf("Changed = %d, %v", version, err)
				}
				if got := time.Since(start); got > 110*time.Millisecond {
					t.Errorf("woke after %v, want about 100 ms", got)
				}
			})
		}
		time.AfterFunc(100*time.Millisecond, func() { s.set(at("a", "127.0.0.1:1")) })
		all.Wait()
		if s.lookups > 1100 {
			t.Errorf("a thousand waiters made %d look-ups", s.lookups)
		}
	})
}

// The one who polls for all may leave first.
func TestWaitingGoesOnWhenOneWaiterLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &table{name: "local"}
		r := discovery.New(discovery.Options{Sources: []discovery.Source{s}})
		var all sync.WaitGroup
		for i := range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*20*time.Millisecond)
			all.Go(func() {
				defer cancel()
				_, err := r.Changed(ctx, orders, 0)
				if left := i < 3; left != errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("waiter %d: %v", i, err)
				}
			})
		}
		time.AfterFunc(70*time.Millisecond, func() { s.set(at("a", "127.0.0.1:1")) })
		all.Wait()
	})
}

func TestAStateIsAChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &table{name: "local"}
		starting := at("a", "127.0.0.1:1")
		starting.State = discovery.Starting
		s.set(starting)
		r := discovery.New(discovery.Options{Sources: []discovery.Source{s}})
		find(t, r, orders)
		version := r.Version(orders)
		s.set(at("a", "127.0.0.1:1"))
		if got, err := r.Changed(t.Context(), orders, version); err != nil || got == version {
			t.Errorf("Changed = %d, %v, want another number than %d", got, err, version)
		}
		if got := find(t, r, orders); got[0].State != discovery.Ready {
			t.Errorf("state = %s, want ready", got[0].State)
		}
	})
}

func TestNearNamesWhatRunsAndWhatWasMeant(t *testing.T) {
	t.Parallel()
	s := &table{name: "local"}
	named := func(app, namespace string) discovery.Endpoint {
		e := at(app, "127.0.0.1:1")
		e.App, e.Namespace = app, namespace
		return e
	}
	s.set(named("todo-api", "default"), named("notify-service", "default"), named("notify-service", "default"), named("notification-service", "other"))
	r := discovery.New(discovery.Options{Sources: []discovery.Source{s}})
	for app, want := range map[string]string{
		"notification-service": "notify-service",
		"notify-servise":       "notify-service",
		"notify":               "notify-service",
		"Todo-API":             "todo-api",
		"tood-api":             "todo-api",
		"billing":              "",
		"x":                    "",
	} {
		running, near := r.Near(discovery.Key{Namespace: "default", App: app})
		if fmt.Sprint(running) != "[notify-service todo-api]" || near != want {
			t.Errorf("Near(%s) = %v, %q, want %q", app, running, near, want)
		}
	}
}

func TestTheResolverUnderLoad(t *testing.T) {
	t.Parallel()
	s := &table{name: "local"}
	s.set(at("a", "127.0.0.1:1"))
	r := discovery.New(discovery.Options{Sources: []discovery.Source{s}})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 500 {
				switch found, _ := r.Endpoints(t.Context(), orders); {
				case i == 0:
					s.set(at(fmt.Sprint("a", j), "127.0.0.1:1"), at("b", "127.0.0.1:2"))
				case i == 1 && len(found) > 0:
					r.Failed(found[0])
				default:
					r.Version(orders)
					r.Answered(orders)
				}
			}
		})
	}
	all.Wait()
	s.set(at("z", "127.0.0.1:3"))
	for {
		version := r.Version(orders) // of what is found, or older
		if got := find(t, r, orders); ids(got) == "[z/local]" {
			break
		}
		if _, err := r.Changed(t.Context(), orders, version); err != nil {
			t.Fatal(version, err)
		}
	}
}

// A look-up of a known name costs the same for one instance as for a hundred,
// and beside fifty other apps: nothing that has to be collected.
func TestAKnownNameCostsNoAllocation(t *testing.T) { // not parallel: it counts allocations
	for _, instances := range []int{1, 100} {
		s := &table{name: "local"}
		var all []discovery.Endpoint
		for i := range instances {
			all = append(all, at(fmt.Sprintf("i%d", i), fmt.Sprintf("127.0.0.1:%d", 1000+i)))
		}
		for i := range 50 {
			e := at(fmt.Sprintf("o%d", i), fmt.Sprintf("127.0.0.1:%d", 3000+i))
			e.App = fmt.Sprintf("other-%d", i)
			all = append(all, e)
		}
		s.set(all...)
		seen, err := discovery.OpenSeen(filepath.Join(t.TempDir(), "seen.json"))
		if err != nil {
			t.Fatal(err)
		}
		r := discovery.New(discovery.Options{Sources: []discovery.Source{s}, Seen: seen})
		first, err := r.Endpoints(t.Context(), orders)
		if err != nil || len(first) != instances {
			t.Fatalf("%d instances, %v", len(first), err)
		}
		n := testing.AllocsPerRun(1000, func() {
			if got := r.Present(orders); len(got) != instances || &got[0] != &first[0] {
				t.Error("another answer though nothing has changed")
			}
			r.Answered(orders)
		})
		if n >= 1 { // the sources are asked each 10 ms
			t.Errorf("%v allocations for %d instances", n, instances)
		}
		if got := r.Present(discovery.Key{Namespace: "default", App: "nobody"}); len(got) > 0 {
			t.Errorf("%v", got)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	s := &table{name: "local"}
	s.set(at("a", "127.0.0.1:1"), at("b", "127.0.0.1:2"))
	seen, err := discovery.OpenSeen(filepath.Join(b.TempDir(), "seen.json"))
	if err != nil {
		b.Fatal(err)
	}
	r := discovery.New(discovery.Options{Sources: []discovery.Source{s}, Seen: seen})
	b.ReportAllocs()
	for b.Loop() {
		if got, err := r.Endpoints(b.Context(), orders); len(got) != 2 || err != nil {
			b.Fatal(got, err)
		}
		r.Answered(orders)
	}
}
