package resiliency_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/resiliency"
)

func http(status int) resiliency.Outcome {
	return resiliency.Outcome{Failed: status >= 400, Answered: resiliency.HTTP, Status: status}
}

// one is a resource for the app b.
func one(retry config.Retry, breaker config.CircuitBreaker) config.Resiliency {
	return config.Resiliency{
		Name: "r",
		Policies: config.ResiliencyPolicies{
			Retries:         map[string]config.Retry{"again": retry},
			CircuitBreakers: map[string]config.CircuitBreaker{"fuse": breaker},
		},
		Targets: config.ResiliencyTargets{Apps: map[string]config.TargetPolicies{"b": {Retry: "again", CircuitBreaker: "fuse"}}},
	}
}

func compile(t *testing.T, o resiliency.Observer, all ...config.Resiliency) *resiliency.Set {
	t.Helper()
	set, doubts := resiliency.Compile(all, o, nil)
	if len(doubts) > 0 {
		t.Fatalf("doubts: %q", doubts)
	}
	return set
}

// attempts runs a call whose attempts all end alike, and counts them.
func attempts(ctx context.Context, r *resiliency.Run, o resiliency.Outcome) (n int, err error) {
	for {
		if err := r.Begin(); err != nil {
			return n, err
		}
		n++
		if !r.End(o) {
			return n, nil
		}
		if err := r.Wait(ctx); err != nil {
			return n, err
		}
	}
}

func TestRetriesMatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		http, grpc string
		end        resiliency.Outcome
		want       int
	}{
		{"", "", http(404), 4},
		{"500-599", "", http(404), 1},
		{"500-599", "", http(500), 4},
		{"429, 500-599", "", http(429), 4},
		{"429,500-599", "", http(430), 1},
		{"", "", http(200), 1},
		{"500-599", "", resiliency.Outcome{Failed: true}, 4}, // no answer: always
		{"", "1,8-14", resiliency.Outcome{Failed: true, Answered: resiliency.GRPC, Status: 14}, 4},
		{"", "1,8-14", resiliency.Outcome{Failed: true, Answered: resiliency.GRPC, Status: 5}, 1},
		{"500", "", resiliency.Outcome{Failed: true, Answered: resiliency.GRPC, Status: 5}, 4},
		{"", "", resiliency.Outcome{Failed: true, Final: true}, 1},
		{"", "", resiliency.Outcome{Failed: true, Ignored: true}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			set := compile(t, resiliency.Observer{}, one(config.Retry{
				Duration: "1s", MaxRetries: new(3), HTTPStatusCodes: c.http, GRPCStatusCodes: c.grpc,
			}, config.CircuitBreaker{Trip: "consecutiveFailures > 100"}))
			began := time.Now()
			n, err := attempts(t.Context(), set.App("b").ForApp("b", "m"), c.end)
			if n != c.want || err != nil || time.Since(began) != time.Duration(n-1)*time.Second {
				t.Errorf("%+v: %d attempts in %v, %v", c, n, time.Since(began), err)
			}
		})
	}
}

func TestHowOftenAndWhen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		retry       config.Retry
		want        int
		least, most time.Duration
	}{
		{config.Retry{MaxRetries: new(0)}, 1, 0, 0},
		{config.Retry{MaxRetries: new(2)}, 3, 10 * time.Second, 10 * time.Second},
		{config.Retry{MaxRetries: new(2), Duration: "200"}, 3, 400 * time.Millisecond, 400 * time.Millisecond},
		{config.Retry{Policy: "exponential", MaxRetries: new(3)}, 4, 1187 * time.Millisecond, 3563 * time.Millisecond},
		{config.Retry{Policy: "exponential", MaxRetries: new(10), MaxInterval: "1s"}, 11, 4 * time.Second, 15 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			set := compile(t, resiliency.Observer{}, one(c.retry, config.CircuitBreaker{Trip: "false"}))
			began := time.Now()
			n, _ := attempts(t.Context(), set.App("b").ForApp("b", "m"), http(500))
			if took := time.Since(began); n != c.want || took < c.least || took > c.most {
				t.Errorf("%+v: %d attempts in %v", c, n, took)
			}
		})
	}
}

func TestWithoutEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		set := compile(t, resiliency.Observer{}, one(config.Retry{Duration: "1s", MaxRetries: new(-1)}, config.CircuitBreaker{Trip: "false"}))
		ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Second+time.Millisecond)
		defer cancel()
		if n, err := attempts(ctx, set.App("b").ForApp("b", "m"), http(500)); n != 1001 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d attempts, %v", n, err)
		}
		// An exponential one ends after a quarter of an hour.
		set = compile(t, resiliency.Observer{}, one(config.Retry{Policy: "exponential"}, config.CircuitBreaker{Trip: "false"}))
		began := time.Now()
		if _, err := attempts(t.Context(), set.App("b").ForApp("b", "m"), http(500)); err != nil || time.Since(began) < 15*time.Minute || time.Since(began) > 17*time.Minute {
			t.Errorf("%v, %v", time.Since(began), err)
		}
	})
}

// After more than five failures in a row nothing passes for a minute, then one
// attempt decides. Other methods, and other apps, are not concerned.
func TestABreakerIsOfAMethod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		set := compile(t, resiliency.Observer{}, one(config.Retry{MaxRetries: new(0)}, config.CircuitBreaker{}))
		call := func(method string, o resiliency.Outcome) error {
			_, err := attempts(t.Context(), set.App("b").ForApp("b", method), o)
			return err
		}
		for n := range 10 {
			want := error(nil)
			if n >= 6 {
				want = resiliency.ErrOpen
			}
			if err := call("m", http(500)); !errors.Is(err, want) {
				t.Errorf("call %d: %v, want %v", n, err, want)
			}
		}
		if err := call("other", http(500)); err != nil {
			t.Errorf("another method: %v", err)
		}
		time.Sleep(time.Minute + time.Millisecond)
		first, second := set.App("b").ForApp("b", "m"), set.App("b").ForApp("b", "m")
		if err := first.Begin(); err != nil {
			t.Fatal(err)
		}
		if err := second.Begin(); !errors.Is(err, resiliency.ErrTooMany) {
			t.Errorf("half open: %v", err)
		}
		first.End(http(200))
		if err := call("m", http(200)); err != nil {
			t.Errorf("closed again: %v", err)
		}
		// Those who have gone are not the app's failure.
		for range 20 {
			_ = call("gone", resiliency.Outcome{Failed: true, Ignored: true})
		}
		if err := call("gone", http(200)); err != nil {
			t.Errorf("opened by callers that have gone: %v", err)
		}
	})
}

func TestABreakerEndsASeries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var events []string
		set := compile(t, resiliency.Observer{
			Logger:    slog.New(slog.NewTextHandler(&log, nil)),
			Applied:   func(e resiliency.Event) { events = append(events, fmt.Sprint("for ", e.Kind, e.State)) },
			Activated: func(e resiliency.Event) { events = append(events, fmt.Sprint(e.Kind, " ", e.State)) },
		}, one(config.Retry{Duration: "1s", MaxRetries: new(9)}, config.CircuitBreaker{Trip: "totalFailures >= 2 && requests < 9"}))
		n, err := attempts(t.Context(), set.App("b").ForApp("b", "m"), http(500))
		if n != 2 || !errors.Is(err, resiliency.ErrOpen) {
			t.Errorf("%d attempts, %v", n, err)
		}
		want := []string{"for circuitbreakerclosed", "for retry", "retry ", "circuitbreaker open", "retry "}
		if !slices.Equal(events, want) {
			t.Errorf("events %q", events)
		}
		run := set.App("b").ForApp("b", "two")
		for _, o := range []resiliency.Outcome{http(500), http(200)} {
			if err := run.Begin(); err != nil {
				t.Fatal(err)
			}
			run.End(o)
		}
		for _, line := range []string{
			"Error processing operation endpoint[b, b:m]. Retrying in 1s…",
			`Circuit breaker \"b:m\" changed state from closed to open`,
			"Recovered processing operation endpoint[b, b:two] after 2 attempts",
		} {
			if strings.Count(log.String(), line) != 1 {
				t.Errorf("%s\nnot once in\n%s", line, log.String())
			}
		}
	})
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	timeouts := map[string]config.Timeout{}
	for i, name := range []string{
		"Default", "DefaultApp", "DefaultComponent", "DefaultComponentOutbound", "DefaultStatestoreComponentOutbound",
	} {
		timeouts[name+"TimeoutPolicy"] = config.Timeout{Value: fmt.Sprint(i+1, "s")}
	}
	timeouts["own"] = config.Timeout{Value: "9000"}
	all := func(without ...string) *resiliency.Set {
		r := config.Resiliency{Name: "r", Policies: config.ResiliencyPolicies{Timeouts: map[string]config.Timeout{}}}
		for name, value := range timeouts {
			if !slices.Contains(without, name) {
				r.Policies.Timeouts[name] = value
			}
		}
		r.Targets.Apps = map[string]config.TargetPolicies{"mine": {Timeout: "own"}, "none": {}}
		r.Targets.Components = map[string]config.ComponentPolicies{"mine": {Outbound: config.TargetPolicies{Timeout: "own"}}}
		return compile(t, resiliency.Observer{}, r)
	}
	after := func(p *resiliency.Policy) time.Duration {
		if p == nil {
			return 0
		}
		return p.Timeout().After / time.Second
	}
	set := all()
	got := []time.Duration{
		after(set.App("mine")), after(set.App("none")), after(set.App("x")),
		after(set.Component("mine", "state.redis")), after(set.Component("x", "state.redis")), after(set.Component("x", "middleware.http")),
		after(all("DefaultAppTimeoutPolicy").App("x")), after(all("DefaultStatestoreComponentOutboundTimeoutPolicy").Component("x", "state.redis")),
	}
	if want := []time.Duration{9, 0, 2, 9, 5, 4, 1, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var nothing *resiliency.Set
	if nothing.App("x") != nil || nothing.Component("x", "y") != nil {
		t.Error("no resources, but a policy")
	}
}

// The name that replaces Dapr's own retries is for peers that cannot be reached.
func TestBuiltInRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		set := compile(t, resiliency.Observer{}, config.Resiliency{Policies: config.ResiliencyPolicies{
			Retries: map[string]config.Retry{"DaprBuiltInServiceRetries": {Duration: "1s", MaxRetries: new(2)}},
		}})
		for _, c := range []struct {
			end  resiliency.Outcome
			want int
		}{{resiliency.Outcome{Failed: true, Peer: true}, 3}, {resiliency.Outcome{Failed: true}, 1}, {http(500), 1}} {
			if n, err := attempts(t.Context(), set.App("b").ForApp("b", "m"), c.end); n != c.want || err != nil {
				t.Errorf("%+v: %d attempts, %v", c.end, n, err)
			}
		}
	})
}

// What is wrong is said with its place, and the rest counts.
func TestWhatIsWrong(t *testing.T) {
	t.Parallel()
	retry := func(r config.Retry) config.Resiliency {
		r.At = "f:3"
		return config.Resiliency{Policies: config.ResiliencyPolicies{Retries: map[string]config.Retry{"p": r}}}
	}
	breaker := func(b config.CircuitBreaker) config.Resiliency {
		b.At = "f:4"
		return config.Resiliency{Policies: config.ResiliencyPolicies{CircuitBreakers: map[string]config.CircuitBreaker{"p": b}}}
	}
	timeout := func(value string) config.Resiliency {
		return config.Resiliency{Policies: config.ResiliencyPolicies{Timeouts: map[string]config.Timeout{"p": {Value: value, At: "f:2"}}}}
	}
	const could = "Could not read resiliency policy p: "
	for _, c := range []struct {
		given config.Resiliency
		want  string
	}{
		{timeout("soon"), could + `f:2: timeout: "soon" is not a time such as 500ms, 5s or 1m`},
		{timeout("-1s"), could + `f:2: timeout: "-1s" is negative`},
		{timeout("0"), could + "f:2: timeout: 0 is no time-out"},
		{retry(config.Retry{Policy: "linear"}), could + `f:3: retry: policy "linear" is neither constant nor exponential`},
		{retry(config.Retry{MaxRetries: new(-2)}), could + "f:3: retry: maxRetries is -2"},
		{retry(config.Retry{HTTPStatusCodes: "5xx"}), could + `f:3: retry: matching.httpStatusCodes: "5xx" is not a code`},
		{retry(config.Retry{HTTPStatusCodes: "500-600"}), could + `f:3: retry: matching.httpStatusCodes: "500-600" is not within 100-599`},
		{retry(config.Retry{GRPCStatusCodes: "17"}), could + `f:3: retry: matching.gRPCStatusCodes: "17" is not within 0-16`},
		{retry(config.Retry{Duration: "x", MaxInterval: "y"}), could + `f:3: retry: duration: "x" is not a time such as 500ms, 5s or 1m; maxInterval: `},
		{breaker(config.CircuitBreaker{Trip: "requests >"}), could + `f:4: circuitBreaker: trip: "requests >": ERROR`},
		{breaker(config.CircuitBreaker{Trip: "requests + 1"}), could + `f:4: circuitBreaker: trip: "requests + 1" is int, not true or false`},
		{breaker(config.CircuitBreaker{Trip: "nobody > 1"}), could + `f:4: circuitBreaker: trip: "nobody > 1": ERROR`},
		{breaker(config.CircuitBreaker{Timeout: "1 minute"}), could + "f:4: circuitBreaker: timeout: "},
		{breaker(config.CircuitBreaker{MaxRequests: -1}), could + "f:4: circuitBreaker: maxRequests is -1"},
		{retry(config.Retry{Policy: "exponential", Duration: "1s"}), "f:3: the retry policy p: duration has no effect"},
		{retry(config.Retry{MaxInterval: "1s"}), "f:3: the retry policy p: maxInterval has no effect"},
		{retry(config.Retry{Policy: "exponential", MaxInterval: "100ms"}), "f:3: the retry policy p: maxInterval is below"},
		{
			config.Resiliency{
				Policies: config.ResiliencyPolicies{Timeouts: map[string]config.Timeout{"general": {Value: "1s"}}},
				Targets:  config.ResiliencyTargets{Apps: map[string]config.TargetPolicies{"b": {Timeout: "genral", At: "f:9"}}},
			}, `f:9: app b has no timeout "genral": none is called so, did you mean general?`,
		},
	} {
		good := config.Resiliency{
			Policies: config.ResiliencyPolicies{Timeouts: map[string]config.Timeout{"good": {Value: "1s"}}},
			Targets:  config.ResiliencyTargets{Apps: map[string]config.TargetPolicies{"good": {Timeout: "good"}}},
		}
		set, doubts := resiliency.Compile([]config.Resiliency{c.given, good}, resiliency.Observer{}, nil)
		if len(doubts) != 1 || !strings.HasPrefix(doubts[0], c.want) {
			t.Errorf("got %q\nwant %q", doubts, c.want)
		}
		if set.App("good") == nil {
			t.Errorf("%s: the rest does not count", c.want)
		}
	}
}

func TestUnchangedBreakersStay(t *testing.T) {
	t.Parallel()
	given := one(config.Retry{MaxRetries: new(0)}, config.CircuitBreaker{Trip: "consecutiveFailures >= 1"})
	first := compile(t, resiliency.Observer{}, given)
	fails := func(set *resiliency.Set) error {
		_, err := attempts(t.Context(), set.App("b").ForApp("b", "m"), http(500))
		return err
	}
	if err := fails(first); err != nil {
		t.Fatal(err)
	}
	given.Policies.Timeouts = map[string]config.Timeout{"new": {Value: "1s"}}
	second, _ := resiliency.Compile([]config.Resiliency{given}, resiliency.Observer{}, first)
	if err := fails(second); !errors.Is(err, resiliency.ErrOpen) {
		t.Errorf("an unchanged breaker has forgotten: %v", err)
	}
	third, _ := resiliency.Compile([]config.Resiliency{one(config.Retry{MaxRetries: new(0)}, config.CircuitBreaker{})}, resiliency.Observer{}, second)
	if err := fails(third); err != nil {
		t.Errorf("a changed breaker has not begun anew: %v", err)
	}
}

func TestBreakersAreForgotten(t *testing.T) {
	t.Parallel()
	given := one(config.Retry{MaxRetries: new(0)}, config.CircuitBreaker{Trip: "consecutiveFailures >= 1"})
	target := given.Targets.Apps["b"]
	target.CircuitBreakerCacheSize = 2
	given.Targets.Apps["b"] = target
	set := compile(t, resiliency.Observer{}, given)
	for _, method := range []string{"a", "b", "c"} {
		if _, err := attempts(t.Context(), set.App("b").ForApp("b", method), http(500)); err != nil {
			t.Fatal(err)
		}
	}
	for method, want := range map[string]error{"c": resiliency.ErrOpen, "b": resiliency.ErrOpen} {
		if err := set.App("b").ForApp("b", method).Begin(); !errors.Is(err, want) {
			t.Errorf("%s: %v", method, err)
		}
	}
	if err := set.App("b").ForApp("b", "a").Begin(); err != nil {
		t.Errorf("the oldest is remembered: %v", err)
	}
}

func TestComponentsAreRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		set := compile(t, resiliency.Observer{}, config.Resiliency{
			Policies: config.ResiliencyPolicies{
				Retries:  map[string]config.Retry{"again": {Duration: "1s", MaxRetries: new(2)}},
				Timeouts: map[string]config.Timeout{"quick": {Value: "1s", At: "f:5"}},
			},
			Targets: config.ResiliencyTargets{Components: map[string]config.ComponentPolicies{
				"store": {Outbound: config.TargetPolicies{Retry: "again", Timeout: "quick"}},
			}},
		})
		refused, down := errors.New("refused"), errors.New("down")
		for _, c := range []struct {
			err  error
			want int
		}{{nil, 1}, {refused, 1}, {down, 3}} {
			n := 0
			err := set.Component("store", "state.redis").ForComponent("store", "state.redis").Do(t.Context(), func(context.Context) error {
				n++
				return c.err
			}, func(err error) bool { return !errors.Is(err, refused) })
			if n != c.want || !errors.Is(err, c.err) {
				t.Errorf("%v: %d times, %v", c.err, n, err)
			}
		}
		err := set.Component("store", "state.redis").ForComponent("store", "state.redis").Do(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, func(error) bool { return true })
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `the time-out "quick" of f:5`) {
			t.Errorf("%v", err)
		}
	})
}
