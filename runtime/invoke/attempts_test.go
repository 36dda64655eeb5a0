package invoke_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func TestTenInstancesShareTheCalls(t *testing.T) {
	t.Parallel()
	got := make(map[string]int)
	all := instances(discovery.Ready, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
	i := newInvoker(t, newTable(all...), meshFunc(func(_ context.Context, to discovery.Endpoint, _ *invoke.Call) (*invoke.Answer, error) {
		got[to.Instance]++
		return ok(to.Instance)
	}))
	for range 10_000 {
		answer, err := i.Serve(t.Context(), call(""))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	for _, e := range all {
		if n := got[e.Instance]; n < 700 || n > 1300 {
			t.Errorf("instance %s got %d of 10,000 calls, want 700 to 1,300", e.Instance, n)
		}
	}
}

func TestTheLessBusyInstanceIsTaken(t *testing.T) {
	t.Parallel()
	i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(_ context.Context, to discovery.Endpoint, _ *invoke.Call) (*invoke.Answer, error) {
		return ok(to.Instance)
	}))
	got := make(map[string]int)
	for range 100 { // none of the answers is closed meanwhile
		got[serve(t, i, call("")).Instance]++
	}
	if got["a"] != 50 || got["b"] != 50 {
		t.Errorf("open calls: %v, want 50 each", got)
	}
}

func TestThisMachineAndTheReadyComeFirst(t *testing.T) {
	t.Parallel()
	far := instance("far", discovery.Ready)
	far.Local = false
	for name, c := range map[string]struct {
		found []discovery.Endpoint
		want  []string // any of these
		only  bool
	}{
		"local before remote":       {[]discovery.Endpoint{far, instance("near", discovery.Ready)}, []string{"near"}, false},
		"remote ready before local": {[]discovery.Endpoint{far, instance("near", discovery.Starting)}, []string{"far"}, false},
		"unknown state is ready":    {[]discovery.Endpoint{instance("x", ""), instance("y", discovery.Draining)}, []string{"x"}, true},
		"one that holds":            {instances(discovery.Restarting, "x", "y"), []string{"x", "y"}, true},
		"starting before draining":  {[]discovery.Endpoint{instance("x", discovery.Draining), instance("y", discovery.Starting)}, []string{"y"}, true},
		"draining if nothing else":  {[]discovery.Endpoint{instance("x", discovery.Draining), instance("y", discovery.Unhealthy)}, []string{"x"}, true},
		"the only one":              {instances(discovery.Ready, "x"), []string{"x"}, true},
		"two":                       {instances(discovery.Ready, "x", "y"), []string{"x", "y"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 20 {
				var only bool
				i := newInvoker(t, newTable(c.found...), meshFunc(func(_ context.Context, to discovery.Endpoint, call *invoke.Call) (*invoke.Answer, error) {
					only = call.Only
					return ok(to.Instance)
				}))
				answer := serve(t, i, call(""))
				if !slices.Contains(c.want, answer.Instance) || only != c.only {
					t.Fatalf("went to %s, only %v; want %v, %v", answer.Instance, only, c.want, c.only)
				}
			}
		})
	}
}

func TestOnlyUnhealthyInstancesAreDaprsAnswer(t *testing.T) {
	t.Parallel()
	i := newInvoker(t, newTable(instances(discovery.Unhealthy, "x", "y")...), nil)
	_, err := i.Serve(t.Context(), call(""))
	if e := apperr.From(err); e.Reason != apperr.AppUnhealthy || !strings.Contains(e.Message(), "app is not in a healthy state") {
		t.Errorf("%v", err)
	}
}

func TestARefusalMovesOnAndEachInstanceIsAskedOnce(t *testing.T) {
	t.Parallel()
	table := newTable(instances(discovery.Ready, "a", "b", "c")...)
	var asked []string
	var onlys []bool
	i := newInvoker(t, table, meshFunc(func(_ context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		asked, onlys = append(asked, to.Instance), append(onlys, c.Only)
		if c.Attempt != len(asked) {
			t.Errorf("attempt %d says it is %d", len(asked), c.Attempt)
		}
		data, err := io.ReadAll(c.Body)
		if string(data) != "the body" || err != nil {
			t.Errorf("attempt %d read %q, %v", c.Attempt, data, err)
		}
		switch len(asked) {
		case 1:
			return nil, refusal(apperr.Refused, apperr.ReachedNo)
		case 2:
			return nil, refusal(apperr.PeerUnreachable, apperr.ReachedNo)
		}
		return ok(to.Instance)
	}))
	answer := serve(t, i, call("the body"))
	if answer.Attempts != 3 || !slices.Equal(onlys, []bool{false, false, true}) {
		t.Errorf("attempts %d, only %v", answer.Attempts, onlys)
	}
	slices.Sort(asked)
	if !slices.Equal(asked, []string{"a", "b", "c"}) {
		t.Errorf("asked %v", asked)
	}
	if len(table.failed) != 1 || table.answered != 1 {
		t.Errorf("evicted %v, answered %d", table.failed, table.answered)
	}
}

func TestAPostThatMayHaveReachedAnAppIsNotRepeated(t *testing.T) {
	t.Parallel()
	for _, reason := range []apperr.Reason{apperr.PeerGone, apperr.AppGone, apperr.Refused, apperr.Internal, apperr.AppUnreachable} {
		attempts := 0
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b", "c")...), meshFunc(func(context.Context, discovery.Endpoint, *invoke.Call) (*invoke.Answer, error) {
			attempts++
			return nil, refusal(reason, apperr.ReachedMaybe)
		}))
		_, err := i.Serve(t.Context(), call("x"))
		if !apperr.Is(err, reason) || attempts != 1 {
			t.Errorf("%s: %d attempts, %v", reason, attempts, err)
		}
	}
}

func TestAnAnswerOfOnesOwnIsFinal(t *testing.T) {
	t.Parallel()
	for _, reason := range []apperr.Reason{apperr.AccessDenied, apperr.NamespaceDenied, apperr.HeadTooLarge} {
		attempts := 0
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(context.Context, discovery.Endpoint, *invoke.Call) (*invoke.Answer, error) {
			attempts++
			return nil, refusal(reason, apperr.ReachedNo)
		}))
		if _, err := i.Serve(t.Context(), call("")); !apperr.Is(err, reason) || attempts != 1 {
			t.Errorf("%s: %d attempts, %v", reason, attempts, err)
		}
	}
}

func TestA1xxAnswerCommits(t *testing.T) {
	t.Parallel()
	attempts := 0
	i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		attempts++
		if err := c.Informational(103, invoke.Fields{{"Link", "x"}, {"pillion-error", "y"}}); err != nil {
			t.Error(err)
		}
		return nil, refusal(apperr.Refused, apperr.ReachedNo)
	}))
	c := call("")
	c.Informational = func(status int, f invoke.Fields) error {
		if status != 103 || len(f) != 1 {
			t.Errorf("1xx: %d %v", status, f)
		}
		return nil
	}
	if _, err := i.Serve(t.Context(), c); err == nil || attempts != 1 {
		t.Errorf("%d attempts, %v", attempts, err)
	}
}

func TestABodyThatOutranTheBufferCommits(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]int{64 << 10: 2, 64<<10 + 1: 1, 1 << 20: 1} {
		attempts := 0
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
			attempts++
			if n, err := io.Copy(io.Discard, io.LimitReader(c.Body, int64(size))); n != int64(size) || err != nil {
				t.Errorf("size %d, attempt %d: read %d, %v", size, attempts, n, err)
			}
			if attempts == 2 {
				return ok("b")
			}
			return nil, refusal(apperr.Refused, apperr.ReachedNo)
		}))
		c := call(strings.Repeat("x", size))
		c.Body = streamed(c.Body)
		answer, err := i.Serve(t.Context(), c)
		if attempts != want || (err == nil) != (want == 2) {
			t.Errorf("size %d: %d attempts, %v, want %d", size, attempts, err, want)
		}
		if err == nil {
			_ = answer.Body.Close()
		}
	}
}

func TestAnUnknownAppIsToldAtOnceWithTheNearMatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newTable()
		r.running, r.nearest = []string{"notify-service", "caller"}, "notify-service"
		c := call("body")
		c.Target = invoke.Target{App: "notification-service", Given: "notification-service"}
		began := time.Now()
		_, err := newInvoker(t, r, nil).Serve(t.Context(), c)
		e := apperr.From(err)
		if e.Reason != apperr.AppNotFound || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		const want = "failed to invoke, id: notification-service, err: couldn't find service: notification-service (app-id notification-service not found: running here are caller, notify-service; did you mean notify-service?)"
		if got := e.InvokeBody("notification-service").Message; got != want {
			t.Errorf("message\n%s\nwant\n%s", got, want)
		}
	})
}

func TestAKnownAppIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newTable()
		r.known = true
		i := newInvoker(t, r, meshFunc(func(_ context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
			if data, _ := io.ReadAll(c.Body); string(data) != "kept" {
				t.Errorf("body %q", data)
			}
			return ok(to.Instance)
		}))
		go func() {
			time.Sleep(3 * time.Second)
			r.set(instance("late", discovery.Ready))
		}()
		c := call("kept")
		c.Timing = new(invoke.Timing)
		began := time.Now()
		if got := serve(t, i, c).Instance; got != "late" {
			t.Errorf("answered by %q", got)
		}
		if took := time.Since(began); took < 3*time.Second || took > 3*time.Second+100*time.Millisecond {
			t.Errorf("took %v, want 3s", took)
		}
		if c.Timing.Held < 3*time.Second || c.Timing.Source != "local" {
			t.Errorf("timing %+v", c.Timing)
		}
	})
}

func TestWaitingEndsWithHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newTable()
		r.known = true
		began := time.Now()
		_, err := newInvoker(t, r, nil).Serve(t.Context(), call("x"))
		if took := time.Since(began); !apperr.Is(err, apperr.AppNotFound) || took != 10*time.Second {
			t.Errorf("%v after %v, want not found after 10s", err, took)
		}
		if !strings.Contains(err.Error(), "after waiting 10s for it to come") {
			t.Errorf("the wait is not said: %v", err)
		}
	})
}

// All instances restart: each refuses, and gets the call again when it is back.
func TestInstancesThatRefusedAreAskedAgainOnceSomethingChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newTable(instances(discovery.Ready, "a", "b")...)
		var back atomic.Bool
		var attempts atomic.Int32
		i := newInvoker(t, r, meshFunc(func(_ context.Context, to discovery.Endpoint, _ *invoke.Call) (*invoke.Answer, error) {
			attempts.Add(1)
			if back.Load() {
				return ok(to.Instance)
			}
			return nil, refusal(apperr.Refused, apperr.ReachedNo)
		}))
		go func() {
			time.Sleep(2 * time.Second)
			back.Store(true)
			r.set(instances(discovery.Ready, "a", "b")...)
		}()
		began := time.Now()
		serve(t, i, call("x"))
		if took := time.Since(began); took > 2*time.Second+10*time.Millisecond {
			t.Errorf("took %v, want 2s", took)
		}
		if n := attempts.Load(); n > 40 {
			t.Errorf("%d attempts in 2s", n)
		}
	})
}

func TestAStaticPeerThatComesUpTellsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newTable()
		r.known = true
		peer := instance("", "")
		began := time.Now()
		i := newInvoker(t, &sticky{table: r, peer: peer}, meshFunc(func(context.Context, discovery.Endpoint, *invoke.Call) (*invoke.Answer, error) {
			if time.Since(began) < 4*time.Second {
				return nil, refusal(apperr.PeerUnreachable, apperr.ReachedNo)
			}
			return ok("")
		}))
		serve(t, i, call("x"))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// sticky is a table with one peer that cannot be evicted.
type sticky struct {
	*table
	peer discovery.Endpoint
}

func (s *sticky) Endpoints(context.Context, discovery.Key) ([]discovery.Endpoint, error) {
	return []discovery.Endpoint{s.peer}, nil
}

func TestAClosedAppPortIsTheAnswerWhenNoOtherInstanceIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(_ context.Context, to discovery.Endpoint, _ *invoke.Call) (*invoke.Answer, error) {
			return nil, refusal(apperr.AppUnreachable, apperr.ReachedNo)
		}))
		began := time.Now()
		_, err := i.Serve(t.Context(), call(""))
		if e := apperr.From(err); e.Reason != apperr.AppUnreachable || e.Attempts != 2 || time.Since(began) != 0 {
			t.Errorf("%+v after %v", e, time.Since(began))
		}
	})
}

func TestATimeOutSaysWhereTheTimeWent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		known   bool
		found   []discovery.Endpoint
		before  time.Duration // until the app is reached; negative: never
		want    string
		hop     apperr.Hop
		reached apperr.Reached
	}{
		"in the app":   {true, instances(discovery.Ready, "a"), 100 * time.Millisecond, "after 5s, 4.9s of it in the app", apperr.HopApp, apperr.ReachedMaybe},
		"on the way":   {true, instances(discovery.Ready, "a"), -1, "after 5s, 5s of it before the app had it", apperr.HopPeer, apperr.ReachedMaybe},
		"held by them": {true, instances(discovery.Starting, "a"), 3 * time.Second, "after 5s, 3s of it waiting for the app to be ready", apperr.HopPeer, apperr.ReachedMaybe},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newTable(c.found...)
				r.known = c.known
				i := newInvoker(t, r, meshFunc(func(ctx context.Context, _ discovery.Endpoint, call *invoke.Call) (*invoke.Answer, error) {
					if c.before >= 0 {
						time.Sleep(c.before)
						call.Reached()
						call.Reached()
					}
					<-ctx.Done()
					return nil, &apperr.Error{Reason: apperr.DeadlineExceeded, What: "x", Hop: apperr.HopPeer}
				}))
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				_, err := i.Serve(ctx, call(""))
				e := apperr.From(err)
				if e.Reason != apperr.DeadlineExceeded || e.Reached != c.reached || e.At() != c.hop {
					t.Errorf("%+v, want hop %s, reached %v", e, c.hop, c.reached)
				}
				want := "failed to invoke, id: callee, err: DEADLINE_EXCEEDED: context deadline exceeded " + c.want
				if got := e.InvokeBody("callee").Message; got != want {
					t.Errorf("message\n%s\nwant\n%s", got, want)
				}
			})
		})
	}
}

// An app that is waited for and does not come is not a slow one: its caller
// learns that it is not there, and that nothing can have happened.
func TestAnAppThatDoesNotComeInTheCallersTimeIsNotFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newTable()
		r.known = true
		i := newInvoker(t, r, meshFunc(func(context.Context, discovery.Endpoint, *invoke.Call) (*invoke.Answer, error) {
			t.Error("nobody is there to be called")
			return ok("")
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		_, err := i.Serve(ctx, call(""))
		e := apperr.From(err)
		if e.Reason != apperr.AppNotFound || e.Reached != apperr.ReachedNo || time.Since(began) != 5*time.Second {
			t.Errorf("%+v after %v", e, time.Since(began))
		}
		if got := e.InvokeBody("callee").Message; !strings.Contains(got, "couldn't find service: callee") || !strings.Contains(got, "after waiting 5s for it to come") {
			t.Errorf("message %s", got)
		}
	})
}

func TestACallerThatLeavesIsNotATimeOut(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(ctx context.Context, _ discovery.Endpoint, _ *invoke.Call) (*invoke.Answer, error) {
		cancel(errors.New("left"))
		<-ctx.Done()
		return nil, refusal(apperr.PeerUnreachable, apperr.ReachedNo)
	}))
	if _, err := i.Serve(ctx, call("")); !apperr.Is(err, apperr.Cancelled) {
		t.Errorf("%v", err)
	}
}

func TestFailuresOfDiscoveryAreTheirOwn(t *testing.T) {
	t.Parallel()
	_, err := newInvoker(t, broken{newTable()}, nil).Serve(t.Context(), call(""))
	if e := apperr.From(err); e.Reason != apperr.DiscoveryFailed || e.Cause != "no folder" || e.Reached != apperr.ReachedNo {
		t.Errorf("%+v", e)
	}
}

type broken struct{ *table }

func (broken) Endpoints(context.Context, discovery.Key) ([]discovery.Endpoint, error) {
	return nil, errors.New("no folder")
}

// A door that is told to stop reading takes it for a caller that has left, and
// a mesh closes the body of a call that failed.
func TestWhatEndedACallIsNotWhatClosingItsBodyDoes(t *testing.T) {
	t.Parallel()
	ctx, left := context.WithCancel(t.Context())
	i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		_, _ = io.CopyN(io.Discard, c.Body, 100<<10) // more than is kept for another attempt
		_ = c.Body.Close()
		return nil, refusal(apperr.AppUnreachable, apperr.ReachedNo)
	}))
	c := call("")
	c.Length, c.Body = -1, invoke.NewBody(endless{left}, nil)
	_, err := i.Serve(ctx, c)
	if e := apperr.From(err); e.Reason != apperr.AppUnreachable || ctx.Err() == nil {
		t.Errorf("%+v", e)
	}
}

// endless is a body without an end, whose Close calls closed.
type endless struct{ closed func() }

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func (e endless) Close() error {
	e.closed()
	return nil
}
