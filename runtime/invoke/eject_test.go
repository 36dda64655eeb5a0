package invoke_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/resiliency"
)

// limited has every call end after a second.
func limited(t *testing.T) func(*invoke.Options) {
	t.Helper()
	set, doubts := resiliency.Compile([]config.Resiliency{{Name: "r", Policies: config.ResiliencyPolicies{
		Timeouts: map[string]config.Timeout{"DefaultTimeoutPolicy": {Value: "1s", At: "r.yaml:4"}},
	}}}, resiliency.Observer{}, nil)
	if len(doubts) > 0 {
		t.Fatal(doubts)
	}
	return func(o *invoke.Options) { o.Policies = set.App }
}

func logged(b *bytes.Buffer) func(*invoke.Options) {
	return func(o *invoke.Options) { o.Logger = slog.New(slog.NewTextHandler(b, nil)) }
}

// A crowd is instances that answer as the test says, and counts their calls.
type crowd struct {
	mu   sync.Mutex // guards what follows
	got  map[string]int
	does map[string]func(context.Context, *invoke.Call) (*invoke.Answer, error)
}

func newCrowd() *crowd {
	return &crowd{got: map[string]int{}, does: map[string]func(context.Context, *invoke.Call) (*invoke.Answer, error){}}
}

func (c *crowd) Send(ctx context.Context, to discovery.Endpoint, call *invoke.Call) (*invoke.Answer, error) {
	c.mu.Lock()
	c.got[to.Instance]++
	do := c.does[to.Instance]
	c.mu.Unlock()
	if do != nil {
		return do(ctx, call)
	}
	return ok(to.Instance)
}

func (c *crowd) set(name string, do func(context.Context, *invoke.Call) (*invoke.Answer, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.does[name] = do
}

// took is how many calls name got since it was asked last.
func (c *crowd) took(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.got[name]
	c.got[name] = 0
	return n
}

// ask makes a call, reads its answer, and returns the error of either.
func ask(t *testing.T, i *invoke.Invoker, c *invoke.Call) error {
	t.Helper()
	answer, err := i.Serve(t.Context(), c)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// frozen never answers.
func frozen(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
	<-ctx.Done()
	return nil, refusal(apperr.Cancelled, apperr.ReachedMaybe)
}

func answering(n int) func(context.Context, *invoke.Call) (*invoke.Answer, error) {
	return func(context.Context, *invoke.Call) (*invoke.Answer, error) { return status(n) }
}

func ending(reason apperr.Reason, reached apperr.Reached) func(context.Context, *invoke.Call) (*invoke.Answer, error) {
	return func(context.Context, *invoke.Call) (*invoke.Answer, error) { return nil, refusal(reason, reached) }
}

// One of three is frozen: callers meet it once each time that it is tried, which
// is after 5, 10, 20 seconds and so on, and each of these costs one call.
func TestAFrozenInstanceIsMetOnceAPeriod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := newCrowd()
		c.set("b", frozen)
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c")...), meshFunc(c.Send), limited(t), logged(&log))
		late := 0
		for began := time.Now(); time.Since(began) < 500*time.Second; time.Sleep(100 * time.Millisecond) {
			if err := ask(t, i, call("x")); err != nil {
				if late++; !apperr.Is(err, apperr.DeadlineExceeded) {
					t.Error(err)
				}
			}
		}
		// At 0, 6, 17, 38, 79, 160 and 321 seconds; the next is at 622.
		if met := c.took("b"); late != 7 || met != 7 {
			t.Errorf("%d time-outs, %d calls at the frozen one; want 7", late, met)
		}
		if got := i.Counts(); got.Ejections != 7 || got.Out != 1 {
			t.Errorf("%+v", got)
		}
		for line, want := range map[string]int{"instance left out": 7, "instance=b": 7, `why="no answer within 1s"`: 7, "level=WARN": 7, "is back": 0} {
			if n := strings.Count(log.String(), line); n != want {
				t.Errorf("%q is said %d times, want %d:\n%s", line, n, want, log.String())
			}
		}
	})
}

// A call that takes too long has no instance left out that answers others
// meanwhile: else a method that is slow everywhere would leave one of them with
// all the calls.
func TestASlowMethodIsNoFrozenInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mesh := newCrowd()
		for _, name := range []string{"a", "b", "c"} {
			mesh.set(name, func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
				if c.Path == "/slow" {
					return frozen(ctx, c)
				}
				time.Sleep(10 * time.Millisecond)
				return ok(name)
			})
		}
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c")...), meshFunc(mesh.Send), limited(t))
		var all sync.WaitGroup
		for n := range 2000 {
			all.Go(func() {
				c := call("x")
				if n%20 == 0 {
					c.Path = "/slow"
				}
				_ = ask(t, i, c)
			})
			time.Sleep(time.Millisecond)
		}
		if got := i.Counts(); got.Ejections != 0 {
			t.Errorf("slow: %+v", got)
		}
		mesh.set("b", frozen)
		for range 1100 { // those that it had answer, and a call that begins then is told of it
			all.Go(func() { _ = ask(t, i, call("x")) })
			time.Sleep(time.Millisecond)
		}
		if got := i.Counts(); got.Ejections != 1 || got.Out != 1 {
			t.Errorf("frozen: %+v", got)
		}
		all.Wait()
	})
}

// What has an instance left out, and how many times of it.
func TestWhatIsAFailureOfAnInstance(t *testing.T) {
	t.Parallel()
	grpc := invoke.Field{Name: "Content-Type", Value: "application/grpc+proto"}
	said := func(code string) invoke.Fields { return invoke.Fields{{Name: "Grpc-Status", Value: code}} }
	trailing := func(code string, body func(invoke.Body) invoke.Body) func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		return func(context.Context, *invoke.Call) (*invoke.Answer, error) {
			return &invoke.Answer{Status: 200, Fields: invoke.Fields{grpc}, Body: body(ended{invoke.BytesBody([]byte("x")), said(code)}), Length: -1}, nil
		}
	}
	whole := func(b invoke.Body) invoke.Body { return b }
	const never = 0
	for name, c := range map[string]struct {
		does func(context.Context, *invoke.Call) (*invoke.Answer, error)
		want int
	}{
		"500":                              {answering(500), 5},
		"502":                              {answering(502), 5},
		"503":                              {answering(503), 5},
		"599":                              {answering(599), 5},
		"404":                              {answering(404), never},
		"429":                              {answering(429), never},
		"the app broke off":                {ending(apperr.AppGone, apperr.ReachedMaybe), 5},
		"the app took no connection":       {ending(apperr.AppUnreachable, apperr.ReachedNo), 5},
		"a time-out there":                 {ending(apperr.DeadlineExceeded, apperr.ReachedMaybe), 5},
		"a time-out before the app had it": {ending(apperr.DeadlineExceeded, apperr.ReachedNo), never},
		"a stream until the time is up": {func(context.Context, *invoke.Call) (*invoke.Answer, error) {
			return &invoke.Answer{Status: 200, Body: breaks{refusal(apperr.DeadlineExceeded, apperr.ReachedMaybe)}, Length: -1}, nil
		}, never},
		"the peer is gone":                {ending(apperr.PeerGone, apperr.ReachedMaybe), 1},
		"the peer leaves":                 {ending(apperr.PeerGone, apperr.ReachedNo), never},
		"denied":                          {ending(apperr.AccessDenied, apperr.ReachedNo), never},
		"held for too long":               {ending(apperr.HoldExceeded, apperr.ReachedNo), never},
		"a caller that left":              {ending(apperr.Cancelled, apperr.ReachedMaybe), never},
		"gRPC UNAVAILABLE at once":        {func(context.Context, *invoke.Call) (*invoke.Answer, error) { return status(200, grpc, said("14")[0]) }, 5},
		"gRPC NOT_FOUND at once":          {func(context.Context, *invoke.Call) (*invoke.Answer, error) { return status(200, grpc, said("5")[0]) }, never},
		"gRPC UNAVAILABLE behind it":      {trailing("14", whole), 5},
		"gRPC UNAVAILABLE after a stream": {trailing("14", streamed), 5},
		"gRPC OK":                         {trailing("0", whole), never},
		"gRPC OK after a stream":          {trailing("0", streamed), never},
		"a stream that the app breaks": {func(context.Context, *invoke.Call) (*invoke.Answer, error) {
			return &invoke.Answer{Status: 200, Body: breaks{refusal(apperr.AppGone, apperr.ReachedMaybe)}, Length: -1}, nil
		}, 5},
		"a stream whose peer goes": {func(context.Context, *invoke.Call) (*invoke.Answer, error) {
			return &invoke.Answer{Status: 200, Body: breaks{refusal(apperr.PeerGone, apperr.ReachedMaybe)}, Length: -1}, nil
		}, 1},
		"a peer that does not answer a dial": {func(context.Context, *invoke.Call) (*invoke.Answer, error) {
			return nil, &apperr.Error{Reason: apperr.PeerUnreachable, Reached: apperr.ReachedNo, Err: context.DeadlineExceeded}
		}, 1}, // the resolver leaves it out, too, so that it is not counted as there
	} {
		synctest.Test(t, func(t *testing.T) {
			mesh := newCrowd()
			i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c")...), meshFunc(mesh.Send))
			for range 50 { // by then it is known that the others do well
				_ = ask(t, i, call("x"))
			}
			mesh.set("b", c.does)
			clear(mesh.got)
			for range 200 {
				_ = ask(t, i, call("x"))
			}
			met, others, counts := mesh.took("b"), mesh.took("a")+mesh.took("c"), i.Counts()
			if c.want == never {
				if met < 20 || counts.Ejections != 0 || counts.Out != 0 {
					t.Errorf("%s: %d calls, %+v; want no ejection", name, met, counts)
				}
				return
			}
			if met != c.want || others < 200-c.want || counts.Ejections != 1 {
				t.Errorf("%s: %d calls, the others %d, %+v; want %d", name, met, others, counts, c.want)
			}
		})
	}
}

// Calls whose time is up before a starting app has them say nothing of it: it
// has all its failures left once it is there. Nor does a call that had spent most
// of its time elsewhere.
func TestTimeSpentElsewhereIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, elsewhere := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			mesh := newCrowd()
			table := newTable(instances(discovery.Ready, "a", "b")...)
			i := newInvoker(t, table, meshFunc(mesh.Send))
			for range 50 { // by then it is known that both do well
				_ = ask(t, i, call("x"))
			}
			state := discovery.Restarting
			if elsewhere {
				state = discovery.Ready
			}
			table.set(instance("b", state))
			mesh.set("b", func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
				if elsewhere && c.Attempt == 1 {
					time.Sleep(900 * time.Millisecond)
					return nil, refusal(apperr.Refused, apperr.ReachedNo)
				}
				return frozen(ctx, c)
			})
			for range 10 {
				ctx, leave := context.WithTimeout(t.Context(), time.Second)
				if _, err := i.Serve(ctx, call("x")); !apperr.Is(err, apperr.DeadlineExceeded) {
					t.Error(err)
				}
				leave()
			}
			table.set(instances(discovery.Ready, "a", "b")...)
			mesh.set("b", answering(500))
			mesh.took("b")
			for range 100 {
				_ = ask(t, i, call("x"))
			}
			if met, got := mesh.took("b"), i.Counts(); met != 5 || got.Ejections != 1 {
				t.Errorf("elsewhere %v: %d calls, %+v; want 5", elsewhere, met, got)
			}
		})
	}
}

// ended is a body whose end is there with its trailers.
type ended struct {
	invoke.Body
	trailers invoke.Fields
}

func (e ended) Trailers() invoke.Fields { return e.trailers }
func (ended) Whole() ([]byte, bool)     { return nil, false }
func (e ended) Complete() ([]byte, invoke.Fields, bool) {
	rest, ok := invoke.Whole(e.Body)
	return rest, e.trailers, ok
}

// breaks is a body that breaks off.
type breaks struct{ err error }

func (b breaks) Read([]byte) (int, error) { return 0, b.err }
func (breaks) Close() error               { return nil }
func (breaks) Trailers() invoke.Fields    { return nil }

// The answers are counted in a row: one that is well begins anew. So are those
// whose body has to be read.
func TestASuccessForgetsFailures(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		mesh := newCrowd()
		n := 0
		mesh.set("b", func(context.Context, *invoke.Call) (*invoke.Answer, error) {
			if n++; n%5 != 0 {
				return status(503)
			}
			answer, err := ok("b")
			if stream {
				answer.Body = streamed(answer.Body)
			}
			return answer, err
		})
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(mesh.Send))
		for range 300 {
			_ = ask(t, i, call("x"))
		}
		if met := mesh.took("b"); met < 50 || i.Counts().Ejections != 0 {
			t.Errorf("%d calls, %+v", met, i.Counts())
		}
	}
}

func TestTheLastInstanceIsNeverLeftOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		found []discovery.Endpoint
		does  func(context.Context, *invoke.Call) (*invoke.Answer, error)
		least map[string]int // of 100 calls
		out   int
	}{
		"one":                        {instances(discovery.Ready, "a"), answering(500), map[string]int{"a": 100}, 0},
		"all fail alike":             {instances(discovery.Ready, "a", "b"), answering(500), map[string]int{"a": 20, "b": 20}, 0},
		"all are gone":               {instances(discovery.Ready, "a", "b"), ending(apperr.PeerGone, apperr.ReachedMaybe), map[string]int{}, 1},
		"the others are not ready":   {append(instances(discovery.Ready, "a"), instances(discovery.Starting, "b", "c")...), ending(apperr.PeerGone, apperr.ReachedMaybe), map[string]int{"a": 100}, 0},
		"the others are not healthy": {append(instances(discovery.Ready, "a"), instances(discovery.Unhealthy, "b")...), answering(503), map[string]int{"a": 100}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			mesh := newCrowd()
			for _, e := range c.found {
				mesh.set(e.Instance, c.does)
			}
			i := newInvoker(t, newTable(c.found...), meshFunc(mesh.Send))
			for range 100 {
				_ = ask(t, i, call("x"))
			}
			for instance, least := range c.least {
				if met := mesh.took(instance); met < least {
					t.Errorf("%s: %s got %d calls, want %d", name, instance, met, least)
				}
			}
			if got := i.Counts().Out; got != c.out {
				t.Errorf("%s: %d are left out, want %d", name, got, c.out)
			}
		})
	}
}

// Once those that were well are gone, the ones that are left out are chosen from
// as if they were not, and those that answer are back.
func TestThoseLeftOutAreBetterThanNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mesh := newCrowd()
		for _, name := range []string{"a", "b"} {
			mesh.set(name, ending(apperr.PeerGone, apperr.ReachedMaybe))
		}
		table := newTable(instances(discovery.Ready, "a", "b", "c")...)
		i := newInvoker(t, table, meshFunc(mesh.Send))
		for i.Counts().Out < 2 {
			_ = ask(t, i, call("x"))
		}
		table.set(append(instances(discovery.Ready, "a", "b"), instance("c", discovery.Unhealthy))...)
		mesh.took("a")
		mesh.took("b")
		for range 100 {
			if err := ask(t, i, call("x")); !apperr.Is(err, apperr.PeerGone) {
				t.Fatal(err)
			}
		}
		if a, b := mesh.took("a"), mesh.took("b"); a < 20 || b < 20 {
			t.Errorf("%d and %d calls of 100", a, b)
		}
		mesh.set("a", nil)
		time.Sleep(time.Millisecond)
		for range 100 {
			_ = ask(t, i, call("x"))
		}
		if got := i.Counts(); got.Out != 1 || mesh.took("a") < 90 {
			t.Errorf("%+v", got)
		}
	})
}

// When the time is over one call tries, and the others go elsewhere meanwhile.
func TestOneCallTries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		mesh := newCrowd()
		mesh.set("b", ending(apperr.PeerGone, apperr.ReachedMaybe))
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c")...), meshFunc(mesh.Send), logged(&log))
		others := func(n int) {
			t.Helper()
			for range n {
				if err := ask(t, i, call("x")); err != nil {
					t.Error(err)
				}
			}
			if met := mesh.took("b"); met != 0 {
				t.Errorf("%d calls went to the one that is left out", met)
			}
		}
		for i.Counts().Out == 0 {
			_ = ask(t, i, call("x"))
		}
		mesh.took("b")
		time.Sleep(4 * time.Second)
		others(50)

		time.Sleep(2 * time.Second)
		answered := make(chan error)
		mesh.set("b", func(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
			select {
			case err := <-answered:
				if err != nil {
					return nil, err
				}
				return ok("b")
			case <-ctx.Done():
				return nil, refusal(apperr.Cancelled, apperr.ReachedMaybe)
			}
		})
		// The first one gives up, which says nothing: another one tries soon.
		ctx, leave := context.WithCancel(t.Context())
		tried := make(chan error, 1)
		go func() { _, err := i.Serve(ctx, call("x")); tried <- err }()
		synctest.Wait()
		if met := mesh.took("b"); met != 1 {
			t.Fatalf("%d calls try", met)
		}
		others(50)
		leave()
		if err := <-tried; !apperr.Is(err, apperr.Cancelled) {
			t.Error(err)
		}
		others(50)
		time.Sleep(time.Second)
		// The second one takes its time, so a third tries, and fails.
		go func() { tried <- ask(t, i, call("x")) }()
		synctest.Wait()
		if met := mesh.took("b"); met != 1 {
			t.Fatalf("%d calls try", met)
		}
		others(50)
		time.Sleep(30 * time.Second)
		go func() { tried <- ask(t, i, call("x")) }()
		synctest.Wait()
		if met := mesh.took("b"); met != 1 {
			t.Fatalf("%d calls try", met)
		}
		answered <- refusal(apperr.AppGone, apperr.ReachedMaybe)
		answered <- refusal(apperr.AppGone, apperr.ReachedMaybe)
		for range 2 {
			if err := <-tried; !apperr.Is(err, apperr.AppGone) {
				t.Error(err)
			}
		}
		if got := i.Counts(); got.Ejections != 2 || got.Out != 1 {
			t.Errorf("%+v", got)
		}
		time.Sleep(8 * time.Second) // of 10, less a tenth
		others(50)
		time.Sleep(4 * time.Second)
		go func() { tried <- ask(t, i, call("x")) }()
		synctest.Wait()
		answered <- nil
		if err := <-tried; err != nil {
			t.Error(err)
		}
		mesh.set("b", nil)
		mesh.took("b")
		for range 300 {
			_ = ask(t, i, call("x"))
		}
		if met, got := mesh.took("b"), i.Counts(); met < 50 || got.Out != 0 || got.Ejections != 2 {
			t.Errorf("back: %d calls, %+v", met, got)
		}
		if n := strings.Count(log.String(), `level=INFO msg="instance is back" app=callee.default instance=b`); n != 1 {
			t.Errorf("said %d times that it is back:\n%s", n, log.String())
		}
	})
}

// An instance whose app was started anew is tried as soon as it is there again.
func TestANewAppIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mesh := newCrowd()
		mesh.set("b", ending(apperr.PeerGone, apperr.ReachedMaybe))
		table := newTable(instances(discovery.Ready, "a", "b")...)
		i := newInvoker(t, table, meshFunc(mesh.Send))
		for i.Counts().Out == 0 {
			_ = ask(t, i, call("x"))
		}
		table.set(instance("a", discovery.Ready), instance("b", discovery.Restarting))
		for range 10 {
			if err := ask(t, i, call("x")); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Millisecond)
		mesh.took("b")
		mesh.set("b", nil)
		table.set(instances(discovery.Ready, "a", "b")...)
		for range 100 {
			_ = ask(t, i, call("x"))
		}
		if met, got := mesh.took("b"), i.Counts(); met < 20 || got.Out != 0 || got.Ejections != 1 {
			t.Errorf("%d calls, %+v", met, got)
		}
	})
}

// How long an instance is left out is forgotten gradually.
func TestAnInstanceThatBehavesIsForgiven(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mesh := newCrowd()
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(mesh.Send))
		// out has b fail n times in a row and come back, and returns how long it
		// was left out last.
		out := func(n int) (last time.Duration) {
			t.Helper()
			mesh.set("b", ending(apperr.PeerGone, apperr.ReachedMaybe))
			for range n {
				for want := i.Counts().Ejections + 1; i.Counts().Ejections < want; {
					_ = ask(t, i, call("x"))
					time.Sleep(100 * time.Millisecond)
				}
			}
			mesh.set("b", nil)
			began := time.Now()
			for i.Counts().Out > 0 {
				_ = ask(t, i, call("x"))
				time.Sleep(100 * time.Millisecond)
			}
			return time.Since(began)
		}
		within := func(what string, got, want time.Duration) {
			t.Helper()
			if got < want*9/10-time.Second || got > want*11/10+time.Second {
				t.Errorf("%s: left out for %v, want about %v", what, got, want)
			}
		}
		within("the fourth time in a row", out(4), 40*time.Second)
		within("at once once more", out(1), 80*time.Second)
		time.Sleep(65 * time.Second) // two are forgotten
		within("after a minute", out(1), 40*time.Second)
		time.Sleep(10 * time.Minute)
		within("after long", out(1), 5*time.Second)
		time.Sleep(10 * time.Minute)
		within("at most", out(12), 5*time.Minute)
	})
}

// A policy's retries go to those that did not have the call, where there are any.
func TestAPolicysRetriesGoToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mesh := newCrowd()
		mesh.set("a", answering(404)) // which is no failure of the instance
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(mesh.Send), under(t))
		for range 100 {
			answer := serve(t, i, call("x"))
			if answer.Status != 200 || answer.Attempts > 2 {
				t.Errorf("%d after %d attempts", answer.Status, answer.Attempts)
			}
			_ = answer.Body.Close()
		}
		if a := mesh.took("a"); a < 20 {
			t.Errorf("%d calls went to it", a)
		}
		// A frozen one costs a call its time-out once, and nobody an error.
		mesh.set("a", frozen)
		began := time.Now()
		for range 100 {
			_ = serve(t, i, call("x")).Body.Close()
		}
		if took := time.Since(began); mesh.took("a") != 1 || took != 6*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A retry does not go to one that is left out while the one that had the call
// before is not.
func TestAPolicysRetriesDoNotGoToThoseLeftOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mesh := newCrowd()
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(mesh.Send), under(t))
		mesh.set("b", frozen)
		for i.Counts().Out == 0 {
			_ = ask(t, i, call("x"))
		}
		mesh.took("b")
		n := 0
		mesh.set("a", func(context.Context, *invoke.Call) (*invoke.Answer, error) {
			if n++; n%2 == 1 {
				return status(503)
			}
			return ok("a")
		})
		began := time.Now()
		if err := ask(t, i, call("x")); err != nil || time.Since(began) != time.Second || mesh.took("b") != 0 {
			t.Errorf("%v after %v, %d at the frozen one", err, time.Since(began), mesh.took("b"))
		}
	})
}

// The other one is not the only choice of a retry: it need not hold the call, and
// if it does not take it the first may.
func TestARetrysOtherInstanceIsNotItsOnlyChoice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, got := "", 0
		table := newTable(instances(discovery.Ready, "a", "b")...)
		i := newInvoker(t, table, meshFunc(func(_ context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
			switch got++; {
			case got == 1:
				first = to.Instance
				return status(503)
			case to.Instance != first && c.Only:
				t.Error("it is to hold the call")
			case to.Instance != first:
				return nil, refusal(apperr.Refused, apperr.ReachedNo)
			}
			return ok(to.Instance)
		}), under(t))
		answer := serve(t, i, call("x"))
		defer func() { _ = answer.Body.Close() }()
		if answer.Status != 200 || answer.Instance != first || got != 3 {
			t.Errorf("%d of %s after %d attempts", answer.Status, answer.Instance, got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		table, got := newTable(instances(discovery.Ready, "a", "b")...), 0
		i := newInvoker(t, table, meshFunc(func(_ context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
			if got++; got == 1 {
				table.Failed(to)
				return nil, refusal(apperr.AppGone, apperr.ReachedMaybe)
			}
			if !c.Only {
				t.Error("it may refuse the call, though the other one has gone")
			}
			return ok(to.Instance)
		}), under(t))
		_ = serve(t, i, call("x")).Body.Close()
	})
}

// An instance in the middle of many calls at once is left out once, not once for
// each of them.
func TestCallsUnderWayCountOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mesh := newCrowd()
		gone := make(chan struct{})
		for name, then := range map[string]func(context.Context, *invoke.Call) (*invoke.Answer, error){
			"a": answering(200), "b": ending(apperr.PeerGone, apperr.ReachedMaybe),
		} {
			mesh.set(name, func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
				<-gone
				return then(ctx, c)
			})
		}
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(mesh.Send))
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() { _ = ask(t, i, call("x")) })
		}
		synctest.Wait()
		time.Sleep(time.Second)
		close(gone)
		all.Wait()
		if met, got := mesh.took("b"), i.Counts(); met < 50 || got.Ejections != 1 {
			t.Errorf("%d calls, %+v", met, got)
		}
	})
}

// Calls keep their budget while an instance is left out.
func TestAnEjectionCostsNoAllocations(t *testing.T) { // not parallel: it counts allocations
	mesh := newCrowd()
	mesh.set("b", ending(apperr.PeerGone, apperr.ReachedMaybe))
	i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c")...), meshFunc(mesh.Send))
	count := func() float64 {
		return testing.AllocsPerRun(500, func() { _ = ask(t, i, call("x")) })
	}
	for i.Counts().Out == 0 {
		_ = ask(t, i, call("x"))
	}
	during := count()
	mesh.set("b", nil)
	if met := mesh.took("b"); met != 1 {
		t.Skip("the machine is so slow that the instance was tried")
	}
	fresh := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c")...), meshFunc(mesh.Send))
	i = fresh
	if before := count(); during > before {
		t.Errorf("%v allocations, %v without an ejection", during, before)
	}
}
