package invoke_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A thousand calls at once, none of which is over: each instance has its share.
func TestCallsAtOnceShareTheInstances(t *testing.T) {
	t.Parallel()
	const calls = 1000
	var mu sync.Mutex
	got := map[string]int{}
	i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c", "d")...), meshFunc(func(_ context.Context, to discovery.Endpoint, _ *invoke.Call) (*invoke.Answer, error) {
		mu.Lock()
		defer mu.Unlock()
		got[to.Instance]++
		return ok(to.Instance)
	}))
	answers := make([]*invoke.Answer, calls)
	var all sync.WaitGroup
	for n := range calls {
		all.Go(func() {
			answer, err := i.Serve(t.Context(), call("x"))
			if err != nil {
				t.Error(err)
				return
			}
			answers[n] = answer
		})
	}
	all.Wait()
	for name, n := range got {
		if n < 150 || n > 350 {
			t.Errorf("%s has %d of 1,000", name, n)
		}
	}
	for _, answer := range answers {
		all.Go(func() { _ = answer.Body.Close() })
	}
	all.Wait()
	clear(got)
	for range 400 { // all are idle again, so they fill up evenly; at random they would not
		serve(t, i, call(""))
	}
	for name, n := range got {
		if n < 94 || n > 106 {
			t.Errorf("%s has %d of 400", name, n)
		}
	}
}

// What the resolver says next counts at once, and the busy stay busy.
func TestAChangeOfTheInstancesCountsAtOnce(t *testing.T) {
	t.Parallel()
	table := newTable(instances(discovery.Ready, "a", "b")...)
	i := newInvoker(t, table, meshFunc(func(_ context.Context, to discovery.Endpoint, _ *invoke.Call) (*invoke.Answer, error) {
		return ok(to.Instance)
	}))
	for range 20 {
		serve(t, i, call("")) // ten calls stay open at each
	}
	table.set(instances(discovery.Ready, "a", "c")...)
	for n := range 10 {
		if got := serve(t, i, call("")).Instance; got != "c" {
			t.Errorf("call %d went to %s, which is busier", n, got)
		}
	}
	for n := range 300 { // each time others, as when apps are restarted
		table.set(instances(discovery.Ready, fmt.Sprintf("x%d", n), "a")...)
		serve(t, i, call(""))
	}
	table.set(instances(discovery.Ready, "z")...)
	if got := serve(t, i, call("")).Instance; got != "z" {
		t.Errorf("a call went to %s", got)
	}
}

// A body with its trailers is there for each attempt, whole or to be read.
func TestAKeptBodyIsThereForEachAttempt(t *testing.T) {
	t.Parallel()
	var first invoke.Body
	i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c")...), meshFunc(func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		switch c.Attempt {
		case 1:
			first = c.Body
			_, _ = io.ReadFull(c.Body, make([]byte, 2))
			rest, trailers, ok := invoke.Complete(c.Body)
			if _, whole := invoke.Whole(c.Body); whole || !ok || string(rest) != "dy" || len(trailers) != 1 {
				t.Errorf("first: %q %v %v", rest, trailers, ok)
			}
			return nil, refusal(apperr.Refused, apperr.ReachedNo)
		case 2:
			if _, err := first.Read(make([]byte, 1)); err == nil {
				t.Error("the first attempt's body can still be read")
			}
			if rest, _, ok := invoke.Complete(first); ok {
				t.Errorf("the first attempt's body still gives %q", rest)
			}
			if rest, _, ok := invoke.Complete(c.Body); !ok || string(rest) != "body" {
				t.Errorf("second: %q %v", rest, ok)
			}
			return nil, refusal(apperr.Refused, apperr.ReachedNo)
		}
		if c.Body.Trailers() != nil {
			t.Error("trailers before the end")
		}
		if data, err := io.ReadAll(c.Body); string(data) != "body" || err != nil {
			t.Errorf("third: %q, %v", data, err)
		}
		if f := c.Body.Trailers(); len(f) != 1 || f.Get("X-Sum") != "1" {
			t.Errorf("trailers %v", f)
		}
		return ok("c")
	}))
	c := call("body")
	c.Body = complete{c.Body}
	answer, err := i.Serve(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("a body can be read after its call")
	}
}

// complete is a body that is there with its trailers, one of which claims to be
// somebody's.
type complete struct{ invoke.Body }

func (complete) Trailers() invoke.Fields {
	return invoke.Fields{{"X-Sum", "1"}, {"Dapr-Caller-App-Id", "admin"}}
}
func (complete) Whole() ([]byte, bool) { return nil, false }
func (c complete) Complete() ([]byte, invoke.Fields, bool) {
	rest, ok := invoke.Whole(c.Body)
	return rest, c.Trailers(), ok
}
