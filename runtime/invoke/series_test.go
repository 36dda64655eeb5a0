package invoke_test

import (
	"context"
	"io"
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

// under has every target repeated thrice, one second apart, and limited to five.
func under(t *testing.T) func(*invoke.Options) {
	t.Helper()
	set, doubts := resiliency.Compile([]config.Resiliency{{
		Name: "r",
		Policies: config.ResiliencyPolicies{
			Timeouts: map[string]config.Timeout{"DefaultTimeoutPolicy": {Value: "5s", At: "r.yaml:4"}},
			Retries:  map[string]config.Retry{"DefaultRetryPolicy": {Duration: "1s", MaxRetries: new(3)}},
		},
	}}, resiliency.Observer{}, nil)
	if len(doubts) > 0 {
		t.Fatal(doubts)
	}
	return func(o *invoke.Options) { o.Policies = set.App }
}

func status(n int, fields ...invoke.Field) (*invoke.Answer, error) {
	return &invoke.Answer{Status: n, Fields: fields, Body: invoke.BytesBody(nil)}, nil
}

// That the last attempt reached nobody is no proof that an earlier one did not.
func TestARetryThatReachesNobodyProvesNothing(t *testing.T) {
	t.Parallel()
	set, doubts := resiliency.Compile([]config.Resiliency{{Name: "r", Policies: config.ResiliencyPolicies{
		Retries: map[string]config.Retry{"DefaultRetryPolicy": {Duration: "1s", MaxRetries: new(1)}},
	}}}, resiliency.Observer{}, nil)
	if len(doubts) > 0 {
		t.Fatal(doubts)
	}
	for name, c := range map[string]struct {
		first func(context.Context, *invoke.Call) (*invoke.Answer, error)
		want  apperr.Reached
	}{
		"it broke off":   {ending(apperr.AppGone, apperr.ReachedMaybe), apperr.ReachedMaybe},
		"it was 503":     {answering(503), apperr.ReachedMaybe},
		"it was refused": {ending(apperr.AppUnreachable, apperr.ReachedNo), apperr.ReachedNo},
	} {
		synctest.Test(t, func(t *testing.T) {
			retried := false
			i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(ctx context.Context, _ discovery.Endpoint, sent *invoke.Call) (*invoke.Answer, error) {
				if !retried {
					retried = true
					return c.first(ctx, sent)
				}
				return nil, refusal(apperr.AppUnreachable, apperr.ReachedNo)
			}), func(o *invoke.Options) { o.Policies = set.App })
			_, err := i.Serve(t.Context(), call("x"))
			if e := apperr.From(err); err == nil || e.Attempts != 2 || e.Reached != c.want {
				t.Errorf("%s: %+v, reached %s", name, e, e.Reached)
			}
		})
	}
}

// Every attempt of a series gets the whole body, as long as that was kept.
func TestASeriesSendsTheBodyAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		size     int
		streamed bool
		want     int
	}{{100, false, 4}, {100, true, 4}, {60 << 10, true, 4}, {200 << 10, true, 1}} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(_ context.Context, _ discovery.Endpoint, c2 *invoke.Call) (*invoke.Answer, error) {
				attempts++
				if n, err := io.Copy(io.Discard, io.LimitReader(c2.Body, int64(c.size))); n != int64(c.size) || err != nil {
					t.Errorf("%+v: attempt %d read %d, %v", c, attempts, n, err)
				}
				return status(500)
			}), under(t))
			sent := call(strings.Repeat("x", c.size))
			if c.streamed {
				sent.Body = streamed(sent.Body)
			}
			answer := serve(t, i, sent)
			if attempts != c.want || answer.Attempts != c.want || answer.Status != 500 || answer.Fields.Has("pillion-attempts") != (c.want > 1) {
				t.Errorf("%+v: %d attempts, %+v", c, attempts, answer)
			}
			_ = answer.Body.Close()
		})
	}
}

// What provably did not reach the app moves on at once, within one attempt of
// the policy, and the body goes along.
func TestMovesAreBeneathAPolicy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
			attempts++
			if data, err := io.ReadAll(c.Body); string(data) != "body" || err != nil {
				t.Errorf("attempt %d read %q, %v", attempts, data, err)
			}
			if attempts == 1 {
				return nil, refusal(apperr.Refused, apperr.ReachedNo)
			}
			return ok("b")
		}), under(t))
		began := time.Now()
		sent := call("body")
		sent.Body = streamed(sent.Body)
		answer := serve(t, i, sent)
		if attempts != 2 || answer.Attempts != 2 || time.Since(began) != 0 {
			t.Errorf("%d attempts, %d said, %v", attempts, answer.Attempts, time.Since(began))
		}
		_ = answer.Body.Close()
	})
}

func TestASeriesEndsWhereItMust(t *testing.T) {
	t.Parallel()
	grpc := invoke.Field{Name: "Content-Type", Value: "application/grpc"}
	for _, c := range []struct {
		name string
		want int
		send func(*invoke.Call) (*invoke.Answer, error)
		call func(*invoke.Call)
	}{
		{"no answer", 4, func(*invoke.Call) (*invoke.Answer, error) { return nil, refusal(apperr.AppGone, apperr.ReachedMaybe) }, nil},
		{"denied", 1, func(*invoke.Call) (*invoke.Answer, error) { return nil, refusal(apperr.AccessDenied, apperr.ReachedNo) }, nil},
		{"a 1xx answer", 1, func(c *invoke.Call) (*invoke.Answer, error) {
			_ = c.Informational(103, nil)
			return status(500)
		}, func(c *invoke.Call) { c.Informational = func(int, invoke.Fields) error { return nil } }},
		{"an early answer", 4, func(*invoke.Call) (*invoke.Answer, error) { return status(199) }, nil},
		{"a gRPC failure", 4, func(*invoke.Call) (*invoke.Answer, error) {
			return status(200, grpc, invoke.Field{Name: "Grpc-Status", Value: "14"})
		}, nil},
		{"a gRPC success", 1, func(*invoke.Call) (*invoke.Answer, error) {
			return status(200, grpc, invoke.Field{Name: "Grpc-Status", Value: "0"})
		}, nil},
		{"a gRPC answer that has begun", 1, func(*invoke.Call) (*invoke.Answer, error) { return status(200, grpc) }, nil},
		{"a stream the app has", 1, func(c *invoke.Call) (*invoke.Answer, error) {
			c.Reached()
			time.Sleep(time.Hour) // a stream is not limited
			return nil, refusal(apperr.AppGone, apperr.ReachedMaybe)
		}, func(c *invoke.Call) {
			c.Fields = invoke.Fields{grpc, {Name: "dapr-stream", Value: "true"}}
		}},
		{"a stream nobody has", 4, func(*invoke.Call) (*invoke.Answer, error) { return nil, refusal(apperr.AppGone, apperr.ReachedMaybe) }, func(c *invoke.Call) {
			c.Fields = invoke.Fields{grpc, {Name: "dapr-stream", Value: "true"}}
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(_ context.Context, _ discovery.Endpoint, sent *invoke.Call) (*invoke.Answer, error) {
				attempts++
				return c.send(sent)
			}), under(t))
			sent := call("x")
			if c.call != nil {
				c.call(sent)
			}
			answer, err := i.Serve(t.Context(), sent)
			if attempts != c.want {
				t.Errorf("%s: %d attempts, want %d; %v", c.name, attempts, c.want, err)
			}
			if answer != nil {
				_ = answer.Body.Close()
			} else if apperr.From(err).Attempts != c.want && c.want > 1 {
				t.Errorf("%s: %d attempts said", c.name, apperr.From(err).Attempts)
			}
		})
	}
}

// A time-out names its policy; the time in which the app gets ready is not of it.
func TestAPolicysTimeOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state discovery.State
		took  time.Duration
	}{{discovery.Ready, 5 * time.Second}, {discovery.Starting, 25 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			i := newInvoker(t, newTable(instances(c.state, "a")...), meshFunc(func(ctx context.Context, _ discovery.Endpoint, sent *invoke.Call) (*invoke.Answer, error) {
				attempts++
				if c.state == discovery.Starting {
					time.Sleep(20 * time.Second)
				}
				sent.Reached()
				<-ctx.Done()
				return nil, refusal(apperr.Cancelled, apperr.ReachedMaybe)
			}), under(t))
			began := time.Now()
			_, err := i.Serve(t.Context(), call(""))
			e := apperr.From(err)
			if took := time.Since(began); attempts != 4 || took < 4*c.took+3*time.Second || took > 4*c.took+3*time.Second+time.Second {
				t.Errorf("%s: %d attempts in %v", c.state, attempts, took)
			}
			if e.Reason != apperr.DeadlineExceeded || e.Attempts != 4 ||
				!strings.Contains(e.Message(), "context deadline exceeded after 5s, ") || !strings.Contains(e.Message(), `by the time-out "DefaultTimeoutPolicy" of r.yaml:4`) {
				t.Errorf("%+v: %s", e, e.Message())
			}
		})
	}
}

// A circuit breaker that opens meanwhile is what the caller is told of, also
// after a time-out.
func TestABreakerOpensInASeriesOfTimeOuts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		set, doubts := resiliency.Compile([]config.Resiliency{{Name: "r", Policies: config.ResiliencyPolicies{
			Timeouts:        map[string]config.Timeout{"DefaultTimeoutPolicy": {Value: "5s"}},
			Retries:         map[string]config.Retry{"DefaultRetryPolicy": {Duration: "1s", MaxRetries: new(9)}},
			CircuitBreakers: map[string]config.CircuitBreaker{"DefaultCircuitBreakerPolicy": {Trip: "consecutiveFailures >= 2", At: "r.yaml:9"}},
		}}}, resiliency.Observer{}, nil)
		if len(doubts) > 0 {
			t.Fatal(doubts)
		}
		attempts := 0
		i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(ctx context.Context, _ discovery.Endpoint, _ *invoke.Call) (*invoke.Answer, error) {
			attempts++
			<-ctx.Done()
			return nil, refusal(apperr.Cancelled, apperr.ReachedMaybe)
		}), func(o *invoke.Options) { o.Policies = set.App })
		began := time.Now()
		for n, want := range []struct {
			attempts int
			took     time.Duration
			reached  apperr.Reached
		}{{2, 12 * time.Second, apperr.ReachedMaybe}, {2, 12 * time.Second, apperr.ReachedNo}} {
			c := call("")
			c.Path += "?q=" + string(rune('a'+n)) // no part of the method
			_, err := i.Serve(t.Context(), c)
			e := apperr.From(err)
			if e.Reason != apperr.CircuitOpen || !strings.HasPrefix(e.Message(), "circuit breaker is open") || !strings.Contains(e.Message(), "r.yaml:9") ||
				e.Reached != want.reached || attempts != want.attempts || time.Since(began) != want.took {
				t.Errorf("call %d: %d attempts after %v, %+v", n, attempts, time.Since(began), e)
			}
		}
		c := call("")
		c.Path = "/another"
		if _, err := i.Serve(t.Context(), c); !apperr.Is(err, apperr.CircuitOpen) || attempts != 4 {
			t.Errorf("another method: %d attempts, %v", attempts, err)
		}
	})
}

// A policy is for a target as the caller names it.
func TestAPolicyIsForTheNameAsItIsGiven(t *testing.T) {
	t.Parallel()
	set, doubts := resiliency.Compile([]config.Resiliency{{
		Name:     "r",
		Policies: config.ResiliencyPolicies{Retries: map[string]config.Retry{"one": {Duration: "0", MaxRetries: new(1)}, "two": {Duration: "0", MaxRetries: new(2)}}},
		Targets: config.ResiliencyTargets{Apps: map[string]config.TargetPolicies{
			"callee": {Retry: "one"}, "callee.default": {Retry: "two"}, "http://127.0.0.1:1": {Retry: "two"},
		}},
	}}, resiliency.Observer{}, nil)
	if len(doubts) > 0 {
		t.Fatal(doubts)
	}
	for given, want := range map[string]int{"callee": 2, "callee.default": 3, "http://127.0.0.1:1": 3, "http://127.0.0.1:2": 1} {
		attempts := 0
		fail := func(context.Context, *invoke.Call) (*invoke.Answer, error) {
			attempts++
			return status(500)
		}
		i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(ctx context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
			return fail(ctx, c)
		}), func(o *invoke.Options) { o.Policies, o.External = set.App, elsewhere{invoke.HandlerFunc(fail)} })
		target, err := invoke.ParseTarget(given)
		if err != nil {
			t.Fatal(err)
		}
		c := call("x")
		c.Target = target
		if answer := serve(t, i, c); attempts != want || answer.Attempts != want {
			t.Errorf("%s: %d attempts, %d said, want %d", given, attempts, answer.Attempts, want)
		}
	}
}

// elsewhere is the hosts outside the mesh.
type elsewhere struct{ invoke.Handler }

func (elsewhere) Knows(string) bool { return false }

// An answer that has begun is the caller's, whatever becomes of it.
func TestAnAnswerThatBreaksOffIsNotRepeated(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*invoke.Options){"without a policy": func(*invoke.Options) {}, "with one": under(t)} {
		attempts := 0
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(context.Context, discovery.Endpoint, *invoke.Call) (*invoke.Answer, error) {
			attempts++
			return &invoke.Answer{
				Status: 200, Fields: invoke.Fields{{Name: "Content-Type", Value: "text/event-stream"}}, Length: -1,
				Body: breaks{refusal(apperr.AppGone, apperr.ReachedMaybe)},
			}, nil
		}), change)
		answer := serve(t, i, get())
		if _, err := io.ReadAll(answer.Body); attempts != 1 || !apperr.Is(err, apperr.AppGone) {
			t.Errorf("%s: %d attempts, %v", name, attempts, err)
		}
	}
}

// A caller that goes away ends the series.
func TestACallerThatGoesEndsTheSeries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(context.Context, discovery.Endpoint, *invoke.Call) (*invoke.Answer, error) {
			attempts++
			return status(500)
		}), under(t))
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := i.Serve(ctx, call("")); err == nil || attempts != 2 || time.Since(began) != 1500*time.Millisecond {
			t.Errorf("%d attempts in %v, %v", attempts, time.Since(began), err)
		}
	})
}
