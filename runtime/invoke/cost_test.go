package invoke_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// allocationBudget is what a small call may allocate in the stages of both
// sidecars; the mesh, the codecs and the app have their own budgets. Lower it
// when you lower it.
const allocationBudget = 3

// fixed is a Source that never changes.
type fixed map[discovery.Key][]discovery.Endpoint

func (fixed) Name() string    { return "local" }
func (fixed) Version() uint64 { return 1 }
func (s fixed) Lookup(key discovery.Key) []discovery.Endpoint {
	return append([]discovery.Endpoint(nil), s[key]...)
}

// many are n instances of callee, beside as many other apps.
func many(n int) fixed {
	all := fixed{}
	for i := range n {
		e := instance(fmt.Sprintf("i%07d", i), discovery.Ready)
		e.Addrs = []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(10_000+i))}
		all[e.Key] = append(all[e.Key], e)
		e.App = fmt.Sprintf("app-%d", i)
		all[e.Key] = append(all[e.Key], e)
	}
	return all
}

// A way is the stages of both sidecars with nothing between them. It carries
// one call at a time, and makes what codecs make before it is counted.
type way struct {
	invoker, callee invoke.Handler
	asked           invoke.Call
	arrived         invoke.Call
	answers         [2]invoke.Answer
	fields          [4]invoke.Fields // request and answer, on both sides
	body            [2]invoke.Body
	inform          func(int, invoke.Fields) error
	reached         func()
}

func (w *way) Send(ctx context.Context, _ discovery.Endpoint, _ identity.ID, c *invoke.Call) (*invoke.Answer, error) {
	if _, ok := invoke.Whole(c.Body); !ok {
		return nil, fmt.Errorf("the body has to be read")
	}
	w.arrived = *c
	w.arrived.Fields = append(w.fields[1][:0], c.Fields...)
	w.arrived.Caller = c.Caller
	got, err := w.callee.Serve(ctx, &w.arrived)
	if err != nil {
		return nil, err
	}
	c.Reached()
	w.answers[1] = *got
	w.answers[1].Fields = append(w.fields[3][:0], got.Fields...)
	return &w.answers[1], nil
}

func (w *way) Serve(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
	w.answers[0] = invoke.Answer{
		Status: 200, Major: 1, Length: 54, Body: w.body[1],
		Fields: append(w.fields[2][:0], invoke.Field{Name: "Content-Type", Value: "application/json"}, invoke.Field{Name: "Date", Value: "x"}),
	}
	return &w.answers[0], nil
}

func newWay(tb testing.TB, source discovery.Source, taps *invoke.Taps) *way {
	tb.Helper()
	seen, err := discovery.OpenSeen(filepath.Join(tb.TempDir(), "seen.json"))
	if err != nil {
		tb.Fatal(err)
	}
	self, err := identity.New("public", "default", "caller")
	if err != nil {
		tb.Fatal(err)
	}
	other, err := self.Sibling("default", "callee")
	if err != nil {
		tb.Fatal(err)
	}
	w := &way{inform: func(int, invoke.Fields) error { return nil }, reached: func() {}}
	for i := range w.fields {
		w.fields[i] = make(invoke.Fields, 0, 24)
	}
	for i := range w.body {
		w.body[i] = invoke.BytesBody(make([]byte, 54))
	}
	w.invoker = invoke.New(invoke.Options{
		Self: self, Mesh: w, Taps: taps,
		Resolver: discovery.New(discovery.Options{Sources: []discovery.Source{source}, Namespace: "default", Seen: seen}),
	})
	w.callee = invoke.NewCallee(invoke.CalleeOptions{
		Self: other, Access: accessFunc(func(*invoke.Call) error { return nil }), App: w, Taps: taps,
	})
	return w
}

// do makes one call as a door makes it.
func (w *way) do(ctx context.Context) error {
	w.asked = invoke.Call{
		Target: invoke.Target{App: "callee", Given: "callee"}, Verb: "POST", Path: "/notify", Major: 1,
		Fields: append(
			w.fields[0][:0],
			invoke.Field{Name: "Content-Type", Value: "application/json"}, invoke.Field{Name: "Accept", Value: "*/*"},
			invoke.Field{Name: "User-Agent", Value: "wrk"},
		),
		Body: w.body[0], Length: 54, Informational: w.inform, Reached: w.reached,
	}
	answer, err := w.invoker.Serve(ctx, &w.asked)
	if err != nil {
		return err
	}
	if rest, ok := invoke.Whole(answer.Body); !ok || len(rest) != 54 || answer.Status != 200 {
		return fmt.Errorf("the answer %+v has to be read", answer)
	}
	return answer.Body.Close()
}

func TestASmallCallKeepsItsBudgetOfAllocations(t *testing.T) { // not parallel: it counts allocations
	for _, instances := range []int{1, 3, 100} {
		w := newWay(t, many(instances), new(invoke.Taps))
		got := testing.AllocsPerRun(1000, func() {
			if err := w.do(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
		if got > allocationBudget {
			t.Errorf("%v allocations with %d instances, want %d at most", got, instances, allocationBudget)
		}
	}
}

// A body that streams costs what it takes to let another attempt read it.
func TestAStreamedBodyKeepsItsBudgetOfAllocations(t *testing.T) { // not parallel: it counts allocations
	i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		_, _ = io.Copy(io.Discard, c.Body)
		return ok("a")
	}))
	got := testing.AllocsPerRun(1000, func() {
		c := call("body")
		c.Body = streamed(c.Body)
		answer, err := i.Serve(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	})
	if got > 25 {
		t.Errorf("%v allocations", got)
	}
}

// A reader that wants no bodies costs something, and only while it is there.
func TestATapCostsOnlyWhileSomebodyListens(t *testing.T) { // not parallel: it counts allocations
	taps := new(invoke.Taps)
	w := newWay(t, many(1), taps)
	count := func() float64 {
		return testing.AllocsPerRun(1000, func() {
			if err := w.do(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
	before := count()
	leave := taps.Attach(deaf{})
	during := count()
	leave()
	if after := count(); after != before || before > allocationBudget || during <= before {
		t.Errorf("%v allocations before, %v while somebody listens, %v after", before, during, after)
	}
	taps.Attach(choosy{})
	if got := count(); got != before {
		t.Errorf("%v allocations for a reader that wants none, %v without", got, before)
	}
}

// deaf keeps no bytes, choosy wants no call.
type (
	deaf   struct{}
	choosy struct{}
)

func (deaf) Want(invoke.Side, *invoke.Call) int   { return 0 }
func (deaf) Seen(*invoke.Record)                  {}
func (choosy) Want(invoke.Side, *invoke.Call) int { return -1 }
func (choosy) Seen(*invoke.Record)                {}

func BenchmarkStages(b *testing.B) {
	for _, instances := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("instances=%d", instances), func(b *testing.B) {
			w := newWay(b, many(instances), new(invoke.Taps))
			b.ReportAllocs()
			for b.Loop() {
				if err := w.do(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
