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

func grpc(status int) resiliency.Outcome {
	return resiliency.Outcome{Failed: status != 0, Answered: resiliency.GRPC, Status: status}
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
		// The ends of lists and ranges.
		{"429,500-599", "", http(428), 1},
		{"429,500-599", "", http(499), 1},
		{"429,500-599", "", http(500), 4},
		{"429,500-599", "", http(599), 4},
		{"100-599", "", resiliency.Outcome{Failed: true, Answered: resiliency.HTTP, Status: 100}, 4},
		{" 404 , 503 - 504 ", "", http(504), 4},
		{" 404 , 503 - 504 ", "", http(404), 4},
		{"503", "", http(504), 1},
		{"", "1,8-14", grpc(1), 4},
		{"", "1,8-14", grpc(2), 1},
		{"", "1,8-14", grpc(7), 1},
		{"", "1,8-14", grpc(8), 4},
		{"", "1,8-14", grpc(15), 1},
		{"", "0-16", grpc(16), 4},
		{"", "16", grpc(16), 4},
		{"", "", grpc(3), 4},
		// Each list is for its own protocol.
		{"500-599", "14", http(500), 4},
		{"500-599", "14", http(404), 1},
		{"500-599", "14", grpc(14), 4},
		{"500-599", "14", grpc(13), 1},
		{"", "14", http(404), 4},
		{"500", "14", resiliency.Outcome{Failed: true}, 4},
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
		{config.Retry{MaxRetries: new(1), Policy: "Constant"}, 2, 5 * time.Second, 5 * time.Second},
		{config.Retry{MaxRetries: new(2), Duration: "0"}, 3, 0, 0},
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

// An exponential policy waits half a second first, half as long again after each
// attempt and maxInterval at most, all varied by half.
func TestExponentialPauses(t *testing.T) {
	t.Parallel()
	for given, most := range map[string]time.Duration{"": time.Minute, "15s": 15 * time.Second, "200ms": 200 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			set, _ := resiliency.Compile([]config.Resiliency{
				one(config.Retry{Policy: "exponential", MaxRetries: new(16), MaxInterval: given}, config.CircuitBreaker{Trip: "false"}),
			}, resiliency.Observer{}, nil)
			run := set.App("b").ForApp("b", "m")
			want := min(500*time.Millisecond, most)
			for n := range 17 {
				if err := run.Begin(); err != nil {
					t.Fatal(err)
				}
				if again := run.End(http(500)); again != (n < 16) {
					t.Fatalf("maxInterval %q, attempt %d: again is %v", given, n+1, again)
				} else if !again {
					return
				}
				began := time.Now()
				if err := run.Wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < want/2-1 || took > want*3/2+1 {
					t.Errorf("maxInterval %q: pause %d took %v, want %v, half more or less", given, n+1, took, want)
				}
				want = min(want*3/2, most)
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

// A scripted breaker gets outcomes, one by one: f and s are calls that fail and
// succeed, o and m are calls that must be refused, as open and as too many, F and
// S end a call that was begun by b; . is a second, - a minute.
func TestBreakersChangeTheirState(t *testing.T) {
	t.Parallel()
	type breaker = config.CircuitBreaker
	const opened, tried, closed, reopened = "from closed to open", "from open to half-open", "from half-open to closed", "from half-open to open"
	for name, c := range map[string]struct {
		given  breaker
		script string
		want   []string
	}{
		"more than five in a row":       {breaker{}, "fffffsffffffo", []string{opened}},
		"it is open for a minute":       {breaker{}, "ffffff" + strings.Repeat(".", 59) + "o" + "..s", []string{opened, tried, closed}},
		"or as it says":                 {breaker{Timeout: "3s", Trip: "consecutiveFailures >= 1"}, "f..o..s", []string{opened, tried, closed}},
		"a bare number of milliseconds": {breaker{Timeout: "3000", Trip: "consecutiveFailures >= 1"}, "f..o..s", []string{opened, tried, closed}},
		"half open, one passes":         {breaker{}, "ffffff-.bmmSs", []string{opened, tried, closed}},
		"or as many as it says":         {breaker{MaxRequests: 3}, "ffffff-.bbbmSmSmSs", []string{opened, tried, closed}},
		"a failure opens it again":      {breaker{}, "ffffff-.fo-.s", []string{opened, tried, reopened, tried, closed}},
		"it forgets when it closes":     {breaker{}, "ffffff-.sfffffsffffffo", []string{opened, tried, closed, opened}},
		"it does not forget with time":  {breaker{}, "fffff-----fo", []string{opened}},
		"but by its interval":           {breaker{Interval: "30s"}, "fffff-fffff-fffff-ffffffo", []string{opened}},
		"requests":                      {breaker{Trip: "requests > 3"}, "sssfo", []string{opened}},
		"totalFailures":                 {breaker{Trip: "totalFailures == 3"}, "fsfsfo", []string{opened}},
		"totalSuccesses":                {breaker{Trip: "totalSuccesses == 2"}, "fsfsfo", []string{opened}},
		"consecutiveSuccesses":          {breaker{Trip: "consecutiveSuccesses == 0 && requests > 2"}, "ssfo", []string{opened}},
		"consecutiveFailures":           {breaker{Trip: "consecutiveFailures == 2"}, "fsfsffo", []string{opened}},
		"a share of the calls":          {breaker{Trip: "requests >= 4 && double(totalFailures) / double(requests) >= 0.5"}, "ssffo", []string{opened}},
		"what cannot be computed":       {breaker{Trip: "1 / totalSuccesses > 2"}, "ffffffff", nil},
		"never":                         {breaker{Trip: "false"}, strings.Repeat("f", 200), nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			set := compile(t, resiliency.Observer{Logger: slog.New(slog.NewTextHandler(&log, nil))}, one(config.Retry{MaxRetries: new(0)}, c.given))
			var begun []*resiliency.Run
			for at, step := range c.script {
				run := set.App("b").ForApp("b", "m")
				var err, want error
				switch step {
				case '.':
					time.Sleep(time.Second)
					continue
				case '-':
					time.Sleep(time.Minute)
					continue
				case 'F', 'S':
					begun[0].End(http(map[rune]int{'F': 500, 'S': 200}[step]))
					begun = begun[1:]
					continue
				case 'b':
					err = run.Begin()
					begun = append(begun, run)
				case 'o':
					want, err = resiliency.ErrOpen, run.Begin()
				case 'm':
					want, err = resiliency.ErrTooMany, run.Begin()
				default:
					if err = run.Begin(); err == nil {
						run.End(http(map[rune]int{'f': 500, 's': 200}[step]))
					}
				}
				if !errors.Is(err, want) {
					t.Fatalf("%s: step %d of %s: %v, want %v", name, at, c.script, err, want)
				}
			}
			var got []string
			for line := range strings.Lines(log.String()) {
				if _, change, is := strings.Cut(line, `Circuit breaker \"b:m\" changed state `); is {
					got = append(got, strings.TrimSuffix(change, "\"\n"))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: changed %q, want %q\n%s", name, got, c.want, log.String())
			}
		})
	}
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

// Retries and circuit breakers have their default names as time-outs have.
func TestDefaultsOfEachKind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		retry, breaker string
		app, store     int // attempts of a call that fails, 1 without a policy
		opens          bool
	}{
		{"DefaultRetryPolicy", "DefaultCircuitBreakerPolicy", 3, 3, true},
		{"DefaultAppRetryPolicy", "DefaultAppCircuitBreakerPolicy", 3, 1, true},
		{"DefaultComponentRetryPolicy", "DefaultComponentCircuitBreakerPolicy", 1, 3, false},
		{"DefaultComponentOutboundRetryPolicy", "DefaultComponentOutboundCircuitBreakerPolicy", 1, 3, false},
		{"DefaultStatestoreComponentRetryPolicy", "DefaultStatestoreComponentCircuitBreakerPolicy", 1, 3, false},
		{"DefaultComponentInboundRetryPolicy", "DefaultActorCircuitBreakerPolicy", 1, 1, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			set := compile(t, resiliency.Observer{}, config.Resiliency{Policies: config.ResiliencyPolicies{
				Retries:         map[string]config.Retry{c.retry: {Duration: "1s", MaxRetries: new(2)}},
				CircuitBreakers: map[string]config.CircuitBreaker{c.breaker: {Trip: "totalFailures >= 3"}},
			}})
			tries := func(p *resiliency.Policy, run func(*resiliency.Policy) *resiliency.Run) (n int, err error) {
				if p == nil {
					return 1, nil
				}
				return attempts(t.Context(), run(p), http(500))
			}
			toApp := func(p *resiliency.Policy) *resiliency.Run { return p.ForApp("x", "m") }
			n, err := tries(set.App("x"), toApp)
			if n != c.app || err != nil {
				t.Errorf("%s: %d attempts at an app, %v", c.retry, n, err)
			}
			if _, err := tries(set.App("x"), toApp); errors.Is(err, resiliency.ErrOpen) != c.opens {
				t.Errorf("%s: %v", c.breaker, err)
			}
			n, err = tries(set.Component("s", "state.redis"), func(p *resiliency.Policy) *resiliency.Run { return p.ForComponent("s", "state.redis") })
			if n != c.store || err != nil {
				t.Errorf("%s: %d attempts at a store, %v", c.retry, n, err)
			}
		})
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
		{timeout("99999999999999999"), could + `f:2: timeout: "99999999999999999" is too long`},
		{timeout(""), could + "f:2: timeout: 0 is no time-out"},
		{retry(config.Retry{HTTPStatusCodes: "599-500"}), could + `f:3: retry: matching.httpStatusCodes: "599-500" is not within 100-599`},
		{retry(config.Retry{HTTPStatusCodes: "99"}), could + `f:3: retry: matching.httpStatusCodes: "99" is not within 100-599`},
		{retry(config.Retry{HTTPStatusCodes: "500,"}), could + `f:3: retry: matching.httpStatusCodes: "" is not a code`},
		{retry(config.Retry{GRPCStatusCodes: "-1"}), could + `f:3: retry: matching.gRPCStatusCodes: "-1" is not a code`},
		{retry(config.Retry{GRPCStatusCodes: "UNAVAILABLE"}), could + `f:3: retry: matching.gRPCStatusCodes: "UNAVAILABLE" is not a code`},
		{retry(config.Retry{Duration: "-5s"}), could + `f:3: retry: duration: "-5s" is negative`},
		{breaker(config.CircuitBreaker{Interval: "often"}), could + `f:4: circuitBreaker: interval: "often" is not a time`},
		{breaker(config.CircuitBreaker{MaxRequests: 1 << 40}), could + "f:4: circuitBreaker: maxRequests is 1099511627776"},
		{breaker(config.CircuitBreaker{Trip: "'yes'"}), could + `f:4: circuitBreaker: trip: "'yes'" is string, not true or false`},
		{breaker(config.CircuitBreaker{Trip: "dyn(true)"}), could + `f:4: circuitBreaker: trip: "dyn(true)" is dyn, not true or false`},
		{breaker(config.CircuitBreaker{Trip: "requests > 'a'"}), could + `f:4: circuitBreaker: trip: "requests > 'a'": ERROR`},
		{
			config.Resiliency{
				Policies: config.ResiliencyPolicies{Retries: map[string]config.Retry{"often": {}}},
				Targets:  config.ResiliencyTargets{Apps: map[string]config.TargetPolicies{"b": {Retry: "oftn", At: "f:9"}}},
			}, `f:9: app b has no retry "oftn": none is called so, did you mean often?`,
		},
		{
			config.Resiliency{
				Policies: config.ResiliencyPolicies{CircuitBreakers: map[string]config.CircuitBreaker{"fuse": {}}},
				Targets:  config.ResiliencyTargets{Apps: map[string]config.TargetPolicies{"b": {CircuitBreaker: "fuze", At: "f:9"}}},
			}, `f:9: app b has no circuitBreaker "fuze": none is called so, did you mean fuse?`,
		},
		{
			config.Resiliency{
				Targets: config.ResiliencyTargets{Components: map[string]config.ComponentPolicies{"s": {Outbound: config.TargetPolicies{Retry: "x", At: "f:9"}}}},
			}, `f:9: component s has no retry "x": none is called so`,
		},
		{
			config.Resiliency{
				Policies: config.ResiliencyPolicies{Retries: map[string]config.Retry{"often": {}}},
				Targets:  config.ResiliencyTargets{Components: map[string]config.ComponentPolicies{"s": {Inbound: config.TargetPolicies{Retry: "often", At: "f:9"}}}},
			}, "f:9: the inbound policies of component s have no effect",
		},
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

// Unless it says otherwise, an app has a hundred.
func TestAHundredBreakersAreKept(t *testing.T) {
	t.Parallel()
	set := compile(t, resiliency.Observer{}, one(config.Retry{MaxRetries: new(0)}, config.CircuitBreaker{Trip: "consecutiveFailures >= 1"}))
	for n := range 101 {
		if _, err := attempts(t.Context(), set.App("b").ForApp("b", fmt.Sprint("m", n)), http(500)); err != nil {
			t.Fatal(err)
		}
	}
	for n := 100; n > 0; n-- {
		if err := set.App("b").ForApp("b", fmt.Sprint("m", n)).Begin(); !errors.Is(err, resiliency.ErrOpen) {
			t.Errorf("m%d: %v", n, err)
		}
	}
	if err := set.App("b").ForApp("b", "m0").Begin(); err != nil {
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
