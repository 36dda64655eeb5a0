package invoke_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/resiliency"
)

// breaking is a mesh whose every attempt has reached an app and ends without an
// answer, for that reason.
func breaking(n *int, reason apperr.Reason) meshFunc {
	return func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		*n++
		if c.Body != nil {
			_, _ = io.Copy(io.Discard, c.Body)
		}
		return nil, refusal(reason, apperr.ReachedMaybe)
	}
}

func get() *invoke.Call {
	c := call("")
	c.Verb = "GET"
	return c
}

// What may have reached an app is repeated where the method, or a key, says that
// it may be carried out twice, and thrice at most.
func TestWhatDoesNoHarmIsRepeated(t *testing.T) {
	t.Parallel()
	key := invoke.Fields{{Name: "idempotency-key", Value: "k1"}}
	for _, c := range []struct {
		name   string
		change func(*invoke.Call)
		reason apperr.Reason
		want   int
	}{
		{"GET", func(c *invoke.Call) { c.Verb = "GET" }, apperr.PeerGone, 4},
		{"HEAD", func(c *invoke.Call) { c.Verb = "HEAD" }, apperr.AppGone, 4},
		{"OPTIONS", func(c *invoke.Call) { c.Verb = "OPTIONS" }, apperr.AppGone, 4},
		{"TRACE", func(c *invoke.Call) { c.Verb = "TRACE" }, apperr.AppGone, 4},
		{"PUT", func(c *invoke.Call) { c.Verb = "PUT" }, apperr.AppGone, 4},
		{"DELETE", func(c *invoke.Call) { c.Verb = "DELETE" }, apperr.GRPCAppUnavailable, 4},
		{"POST", func(*invoke.Call) {}, apperr.PeerGone, 1},
		{"PATCH", func(c *invoke.Call) { c.Verb = "PATCH" }, apperr.PeerGone, 1},
		{"a verb of somebody's own", func(c *invoke.Call) { c.Verb = "get" }, apperr.PeerGone, 1},
		{"POST with a key", func(c *invoke.Call) { c.Fields = key }, apperr.AppGone, 4},
		{"PATCH with a key", func(c *invoke.Call) { c.Verb, c.Fields = "PATCH", key }, apperr.AppGone, 4},
		{"an empty key", func(c *invoke.Call) { c.Fields = invoke.Fields{{Name: "Idempotency-Key"}} }, apperr.AppGone, 1},
		{"gRPC", func(c *invoke.Call) {
			c.Major, c.Fields = 2, invoke.Fields{{Name: "Content-Type", Value: "application/grpc"}}
		}, apperr.AppGone, 1},
		{"an upgrade", func(c *invoke.Call) { c.Verb, c.Upgrade = "GET", "websocket" }, apperr.AppGone, 1},
		{"a body that streams", func(c *invoke.Call) {
			c.Verb, c.Length, c.Body = "PUT", -1, streamed(invoke.BytesBody(make([]byte, 60<<10)))
		}, apperr.AppGone, 4},
		{"one that was too long to keep", func(c *invoke.Call) {
			c.Verb, c.Length, c.Body = "PUT", -1, streamed(invoke.BytesBody(make([]byte, 70<<10)))
		}, apperr.AppGone, 1},
		{"a time-out there", func(c *invoke.Call) { c.Verb = "GET" }, apperr.DeadlineExceeded, 1},
		{"an answer that is none", func(c *invoke.Call) { c.Verb = "GET" }, apperr.ProtocolError, 1},
		{"a bug", func(c *invoke.Call) { c.Verb = "GET" }, apperr.Internal, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c", "d", "e")...), breaking(&attempts, c.reason))
			sent := call("body")
			c.change(sent)
			began := time.Now()
			_, err := i.Serve(t.Context(), sent)
			e := apperr.From(err)
			said := c.want
			if said == 1 {
				said = 0
			}
			if attempts != c.want || e.Reason != c.reason || e.Reached != apperr.ReachedMaybe || e.Attempts != said || time.Since(began) != 0 {
				t.Errorf("%s: %d attempts, want %d; %+v", c.name, attempts, c.want, e)
			}
			if got := i.Counts(); got.Repeats != uint64(c.want-1) || got.RepeatsRefused != 0 {
				t.Errorf("%s: %+v", c.name, got)
			}
		})
	}
}

// A repeat goes to those that have not had the call, with all of its body.
func TestARepeatGoesToAnotherInstance(t *testing.T) {
	t.Parallel()
	for range 20 {
		var asked []string
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c")...), meshFunc(func(_ context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
			asked = append(asked, to.Instance)
			if data, err := io.ReadAll(c.Body); string(data) != "body" || err != nil || c.Attempt != len(asked) {
				t.Errorf("attempt %d of %d read %q, %v", c.Attempt, len(asked), data, err)
			}
			if len(asked) < 3 {
				return nil, refusal(apperr.PeerGone, apperr.ReachedMaybe)
			}
			return ok(to.Instance)
		}))
		sent := call("body")
		sent.Verb, sent.Body = "PUT", streamed(sent.Body)
		answer := serve(t, i, sent)
		if answer.Attempts != 3 || answer.Fields.Get("Pillion-Attempts") != "3" {
			t.Errorf("%d attempts, %v", answer.Attempts, answer.Fields)
		}
		if slices.Sort(asked); !slices.Equal(asked, []string{"a", "b", "c"}) {
			t.Errorf("asked %v", asked)
		}
	}
}

// The only instance there is gets the call again once it is back.
func TestARepeatWaitsForTheOnlyInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newTable(instances(discovery.Ready, "a")...)
		attempts := 0
		i := newInvoker(t, r, meshFunc(func(_ context.Context, to discovery.Endpoint, _ *invoke.Call) (*invoke.Answer, error) {
			if attempts++; attempts == 1 {
				r.set() // it has been killed
				return nil, refusal(apperr.AppGone, apperr.ReachedMaybe)
			}
			return ok(to.Instance)
		}))
		go func() {
			time.Sleep(3 * time.Second)
			r.set(instance("a2", discovery.Starting))
		}()
		began := time.Now()
		answer := serve(t, i, get())
		if took := time.Since(began); answer.Instance != "a2" || attempts != 2 || took < 3*time.Second || took > 3*time.Second+100*time.Millisecond {
			t.Errorf("%s, %d attempts in %v", answer.Instance, attempts, took)
		}
	})
}

// One that does not come back is what the caller is told of, and that the call
// may have reached it, whatever came after.
func TestARepeatThatReachesNobodyProvesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		left []discovery.Endpoint
		then apperr.Reason
		want []string
		took time.Duration
	}{
		{"nobody left", nil, "", []string{"after waiting 10s no app", `"callee"`}, 10 * time.Second},
		{"another that is closed", instances(discovery.Ready, "b"), apperr.AppUnreachable, []string{"then APP_UNREACHABLE"}, 0},
		{"only sick ones", instances(discovery.Unhealthy, "b"), "", []string{"then callee says it is not healthy"}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newTable(instances(discovery.Ready, "a")...)
			attempts := 0
			i := newInvoker(t, r, meshFunc(func(context.Context, discovery.Endpoint, *invoke.Call) (*invoke.Answer, error) {
				if attempts++; attempts == 1 {
					r.set(c.left...)
					return nil, refusal(apperr.PeerGone, apperr.ReachedMaybe)
				}
				return nil, refusal(c.then, apperr.ReachedNo)
			}))
			began := time.Now()
			_, err := i.Serve(t.Context(), get())
			e := apperr.From(err)
			if e.Reason != apperr.PeerGone || e.Reached != apperr.ReachedMaybe || time.Since(began) != c.took {
				t.Errorf("%s: %+v after %v", c.name, e, time.Since(began))
			}
			for _, want := range c.want {
				if !strings.Contains(e.Cause, want) {
					t.Errorf("%s: %q is not in %q", c.name, want, e.Cause)
				}
			}
		})
	}
}

// What ends by the caller's own time, or because it has gone, or has given the
// caller anything, is over.
func TestACallThatIsOverIsNotRepeated(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(context.Context, context.CancelFunc, *invoke.Call){
		"the caller's time is up": func(ctx context.Context, _ context.CancelFunc, _ *invoke.Call) { <-ctx.Done() },
		"the caller has gone":     func(_ context.Context, leave context.CancelFunc, _ *invoke.Call) { leave() },
		"a 1xx answer":            func(_ context.Context, _ context.CancelFunc, c *invoke.Call) { _ = c.Informational(103, nil) },
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, leave := context.WithTimeout(t.Context(), time.Second)
			defer leave()
			attempts := 0
			i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(ctx context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
				attempts++
				change(ctx, leave, c)
				return nil, refusal(apperr.PeerGone, apperr.ReachedMaybe)
			}))
			sent := get()
			sent.Informational = func(int, invoke.Fields) error { return nil }
			if _, err := i.Serve(ctx, sent); attempts != 1 || err == nil {
				t.Errorf("%s: %d attempts, %v", name, attempts, err)
			}
		})
	}
}

// A mesh that its owner closes carries no other attempt, and says nothing of an
// instance.
func TestAMeshThatIsClosedIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	for _, reached := range []apperr.Reached{apperr.ReachedMaybe, apperr.ReachedNo} {
		attempts := 0
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(context.Context, discovery.Endpoint, *invoke.Call) (*invoke.Answer, error) {
			attempts++
			return nil, &apperr.Error{Reason: apperr.PeerGone, Reached: reached, Err: invoke.ErrStopping}
		}))
		if _, err := i.Serve(t.Context(), get()); !apperr.Is(err, apperr.PeerGone) || attempts != 1 || i.Counts() != (invoke.Counts{}) {
			t.Errorf("%d attempts, %v, %+v", attempts, err, i.Counts())
		}
	}
}

// Ten repeats a second are always allowed, a fifth of the calls beyond.
func TestRepeatsHaveABudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := false
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
			if broken && c.Attempt == 1 {
				return nil, refusal(apperr.AppGone, apperr.ReachedMaybe)
			}
			return ok("x")
		}))
		// do makes n calls, and returns how many succeed.
		do := func(n int) (fine int) {
			for range n {
				answer, err := i.Serve(t.Context(), get())
				if err == nil {
					fine++
					_ = answer.Body.Close()
				} else if e := apperr.From(err); e.Reason != apperr.AppGone || e.Attempts != 0 ||
					!strings.Contains(e.Message(), "not sent again: a fifth of the last calls to the app have been, which is the limit") {
					t.Errorf("%+v", e)
				}
			}
			return fine
		}
		expect := func(what string, got, want int) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %d, want %d", what, got, want)
			}
		}
		broken = true
		expect("the first second", do(40), 10)
		time.Sleep(time.Second)
		expect("the second", do(10), 10)
		time.Sleep(20 * time.Second)
		broken = false
		expect("all is well", do(1000), 1000)
		broken = true
		// 1,000 calls are worth 200 repeats, and each more is worth a fifth of one:
		// 250 of the next 1,000 calls.
		time.Sleep(5 * time.Second)
		expect("a fifth of 2,000", do(1000), 400)
		expect("it is used up", do(4), 0)
		time.Sleep(5 * time.Second)
		// What is left are the last 1,004 calls and 400 repeats.
		expect("a floor", do(20), 10)
		if got := i.Counts(); got.Repeats != 430 || got.RepeatsRefused != 30+600+4+10 {
			t.Errorf("%+v", got)
		}
	})
}

// A call counts when it goes out, however long it had to wait before.
func TestCallsThatWaitedCountForTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		table := newTable()
		table.known = true
		broken := false
		i := newInvoker(t, table, meshFunc(func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
			if broken && c.Attempt == 1 {
				return nil, refusal(apperr.AppGone, apperr.ReachedMaybe)
			}
			return ok("x")
		}), func(o *invoke.Options) { o.Hold = time.Minute })
		const calls = 100
		waited := make(chan error, calls)
		for range calls {
			go func() { waited <- ask(t, i, get()) }()
		}
		synctest.Wait()
		time.Sleep(20 * time.Second)
		table.set(instances(discovery.Ready, "a", "b")...)
		for range calls {
			if err := <-waited; err != nil {
				t.Fatal(err)
			}
		}
		broken = true
		fine := 0
		for range calls {
			if ask(t, i, get()) == nil {
				fine++
			}
		}
		if fine != 2*calls/5 {
			t.Errorf("%d repeats, want a fifth of %d calls", fine, 2*calls)
		}
	})
}

// Policies that name retries are followed as they are
// written; beneath others our own repeats happen, within one attempt of theirs.
func TestRepeatsUnderAPolicy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		retry  *config.Retry
		method string
		want   int
	}{
		{"retries, harmless", &config.Retry{Duration: "1s", MaxRetries: new(2)}, "GET", 3},
		{"retries, a POST", &config.Retry{Duration: "1s", MaxRetries: new(2)}, "POST", 3},
		{"none", &config.Retry{MaxRetries: new(0)}, "GET", 1},
		{"a time-out and a circuit breaker only, harmless", nil, "GET", 4},
		{"a time-out and a circuit breaker only, a POST", nil, "POST", 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := config.ResiliencyPolicies{
				Timeouts:        map[string]config.Timeout{"DefaultTimeoutPolicy": {Value: "1m"}},
				CircuitBreakers: map[string]config.CircuitBreaker{"DefaultCircuitBreakerPolicy": {Trip: "totalFailures >= 2"}},
			}
			if c.retry != nil {
				p.Retries = map[string]config.Retry{"DefaultRetryPolicy": *c.retry}
				p.CircuitBreakers = nil
			}
			set, doubts := resiliency.Compile([]config.Resiliency{{Name: "r", Policies: p}}, resiliency.Observer{}, nil)
			if len(doubts) > 0 {
				t.Fatal(doubts)
			}
			attempts := 0
			i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c", "d", "e")...), breaking(&attempts, apperr.PeerGone),
				func(o *invoke.Options) { o.Policies = set.App })
			for n := range 2 {
				attempts = 0
				sent := call("body")
				sent.Verb, sent.Body = c.method, streamed(sent.Body)
				_, err := i.Serve(t.Context(), sent)
				e := apperr.From(err)
				said := c.want
				if said == 1 {
					said = 0
				}
				if attempts != c.want || e.Reason != apperr.PeerGone || e.Attempts != said {
					t.Errorf("%s, call %d: %d attempts, want %d; %+v", c.name, n, attempts, c.want, e)
				}
			}
			if c.retry != nil {
				return
			}
			// Two calls were two failures for the circuit breaker.
			if _, err := i.Serve(t.Context(), get()); !apperr.Is(err, apperr.CircuitOpen) {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
}

// The own app gets a call again as others do.
func TestTheOwnAppsCallsAreRepeated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verb     string
		streamed bool
		fails    int
		want     int
		fine     bool
	}{{"PUT", false, 1, 2, true}, {"PUT", true, 2, 3, true}, {"PUT", true, 9, 4, false}, {"POST", true, 1, 1, false}} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			i := newInvoker(t, newTable(), nil, func(o *invoke.Options) {
				o.Local = invoke.HandlerFunc(func(_ context.Context, sent *invoke.Call) (*invoke.Answer, error) {
					attempts++
					if data, err := io.ReadAll(sent.Body); string(data) != "body" || err != nil || sent.Attempt != attempts || !sent.Only {
						t.Errorf("%+v: attempt %d read %q, %v", c, sent.Attempt, data, err)
					}
					if attempts <= c.fails {
						return nil, refusal(apperr.AppGone, apperr.ReachedMaybe)
					}
					return ok("own")
				})
			})
			sent := call("body")
			sent.Target, sent.Verb = invoke.Target{App: "caller", Given: "caller"}, c.verb
			if c.streamed {
				sent.Body = streamed(sent.Body)
			}
			answer, err := i.Serve(t.Context(), sent)
			if attempts != c.want || (err == nil) != c.fine {
				t.Errorf("%+v: %d attempts, %v", c, attempts, err)
			}
			if err == nil {
				if answer.Attempts != c.want || answer.Fields.Get("Pillion-Attempts") == "" {
					t.Errorf("%+v: %d attempts said", c, answer.Attempts)
				}
				_ = answer.Body.Close()
			}
		})
	}
}
