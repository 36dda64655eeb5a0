package mesh_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

func TestACallArrivesAsItWasSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type seen struct {
		Verb, Path, Host, Body, Caller string
		Major, Attempt                 int
		Only, Expect                   bool
		Fields, Trailers               invoke.Fields
		Target                         invoke.Target
		Length                         int64
		HasDeadline                    bool
	}
	got := make(chan seen, 1)
	s := w.serve(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		body, err := io.ReadAll(c.Body)
		if err != nil {
			return nil, err
		}
		_, deadline := ctx.Deadline()
		got <- seen{
			c.Verb, c.Path, c.Host, string(body), c.Caller.String(), c.Major, c.Attempt, c.Only, c.Expect,
			c.Fields, c.Body.Trailers(), c.Target, c.Length, deadline,
		}
		return &invoke.Answer{
			Status: 418, Major: 2, Length: 4,
			Fields: invoke.Fields{{Name: "b", Value: "2"}, {Name: "A", Value: ""}, {Name: "b", Value: "\xff"}},
			Body:   invoke.NewBody(io.NopCloser(strings.NewReader("tea!")), func() invoke.Fields { return invoke.Fields{{Name: "After", Value: "all"}} }),
		}, nil
	})
	nobody, _ := identity.New("public", "default", "somebody-else")
	fields := invoke.Fields{{Name: "x-LOW", Value: "1"}, {Name: "X-Low", Value: "2"}, {Name: "Empty", Value: ""}, {Name: "Bytes", Value: "\xe9\t~"}}
	c := &invoke.Call{
		Verb: "PROPFIND", Path: "/a%2Fb//c?q=%20&;=", Host: "localhost:3500", Major: 2, Attempt: 3, Only: true,
		Fields: fields, Length: -1, Caller: nobody, // what a caller says of itself does not count
		Body: invoke.NewBody(io.NopCloser(strings.NewReader("hello")), func() invoke.Fields { return invoke.Fields{{Name: "Sum", Value: "42"}} }),
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	a, err := w.transport().Send(ctx, s.at, w.callee.ID(), c)
	if err != nil {
		t.Fatal(err)
	}
	want := seen{
		"PROPFIND", "/a%2Fb//c?q=%20&;=", "localhost:3500", "hello", w.caller.ID().String(), 2, 3, true, false,
		fields,
		invoke.Fields{{Name: "Sum", Value: "42"}},
		invoke.Target{App: "callee", Namespace: "default", Given: "callee"},
		-1, true,
	}
	if diff := cmp.Diff(want, within(t, "what the app got", got)); diff != "" {
		t.Errorf("the call (-want +got):\n%s", diff)
	}
	if a.Body.Trailers() != nil {
		t.Error("trailers before the end of the body")
	}
	body, err := io.ReadAll(a.Body)
	if err != nil || string(body) != "tea!" || a.Status != 418 || a.Major != 2 || a.Length != 4 {
		t.Errorf("answer = %d %d %d %q, %v", a.Status, a.Major, a.Length, body, err)
	}
	if diff := cmp.Diff(invoke.Fields{{Name: "b", Value: "2"}, {Name: "A", Value: ""}, {Name: "b", Value: "\xff"}}, a.Fields); diff != "" {
		t.Errorf("the answer's fields (-want +got):\n%s", diff)
	}
	if got := a.Body.Trailers().Get("After"); got != "all" {
		t.Errorf("the answer's trailer = %q", got)
	}
	if a.Instance != "inst0001" || a.Peer != w.callee.ID() || a.Endpoint.Source != "local" {
		t.Errorf("answered by %q, %v, %+v", a.Instance, a.Peer, a.Endpoint)
	}
	_ = a.Body.Close()
	if got := a.Body.Trailers().Get("After"); got != "all" {
		t.Errorf("the trailer after Close = %q", got)
	}
	until(t, "no call is open", func() bool { return s.Inflight() == 0 })
}

func TestACallWithoutBodyHasNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Body != nil || c.Length != 0 {
			t.Errorf("body %v, length %d", c.Body, c.Length)
		}
		a := answer(304, "")
		a.Length = 1234 // the length that was given, without a body
		return a, nil
	})
	a := w.send(w.transport(), s.at, get())
	if body, err := io.ReadAll(a.Body); len(body) > 0 || err != nil || a.Length != 1234 {
		t.Errorf("answer = %q, %v, length %d", body, err, a.Length)
	}
}

func TestInformationalAnswersComeInOrderBeforeTheFinalOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		for _, hint := range []string{"one", "two"} {
			if err := c.Informational(103, invoke.Fields{{Name: "Link", Value: hint}}); err != nil {
				return nil, err
			}
		}
		return answer(200, "done"), nil
	})
	var got []string
	c := get()
	c.Informational = func(status int, fields invoke.Fields) error {
		if status != 103 {
			t.Errorf("status %d", status)
		}
		got = append(got, fields.Get("Link"))
		return nil
	}
	if body := w.roundTrip(w.transport(), s.at, c); body != "done" {
		t.Errorf("body %q", body)
	}
	if diff := cmp.Diff([]string{"one", "two"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestABodyThatWaitsForContinueIsNotReadBeforeItIsWanted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wanted := make(chan bool)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if !c.Expect {
			t.Error("the callee does not know that the caller waits")
		}
		if <-wanted {
			return echo(t.Context(), c)
		}
		return answer(417, ""), nil
	})
	tr := w.transport()
	for _, want := range []bool{true, false} {
		body := &countingBody{Body: invoke.BytesBody([]byte("big"))}
		c := &invoke.Call{Verb: "PUT", Path: "/", Major: 1, Length: 3, Expect: true, Body: body}
		reads := make(chan int32, 1)
		go func() {
			until(t, "the call is there", func() bool { return s.Inflight() == 1 })
			reads <- body.reads.Load()
			wanted <- want
		}()
		a := w.send(tr, s.at, c)
		got, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		if n := within(t, "how often it was read", reads); n != 0 {
			t.Errorf("read %d times before it was wanted", n)
		}
		if want && string(got) != "big" || !want && body.reads.Load() != 0 {
			t.Errorf("wanted %v: %q after %d reads", want, got, body.reads.Load())
		}
		_ = a.Body.Close()
		until(t, "the call is over", func() bool { return s.Inflight() == 0 })
	}
}

func TestTheCallerHearsWhenTheAppWasReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	heard := make(chan struct{})
	s := w.serve(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		c.Reached()
		c.Reached()
		select { // the news does not wait for the answer
		case <-heard:
		case <-ctx.Done():
		}
		return answer(200, ""), nil
	})
	c := get()
	c.Timing = &invoke.Timing{}
	c.Reached = func() { close(heard) }
	w.roundTrip(w.transport(), s.at, c)
	if c.Timing.App <= 0 || c.Timing.Connect <= 0 || c.Timing.TLS <= 0 || c.Timing.Body <= 0 {
		t.Errorf("timing %+v", *c.Timing)
	}
}

func TestTheTimeLeftCrossesAsADuration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	left := make(chan time.Duration, 1)
	s := w.serve(func(ctx context.Context, _ *invoke.Call) (*invoke.Answer, error) {
		if deadline, ok := ctx.Deadline(); ok {
			left <- time.Until(deadline)
		} else {
			left <- 0
		}
		return answer(200, ""), nil
	})
	tr := w.transport()
	w.roundTrip(tr, s.at, get())
	if got := within(t, "the time left", left); got != 0 {
		t.Errorf("%v left without a deadline", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	a, err := tr.Send(ctx, s.at, w.callee.ID(), get())
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	if got := within(t, "the time left", left); got > time.Hour || got < time.Hour-time.Minute {
		t.Errorf("%v left of an hour", got)
	}
}

func TestStatesArePushed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(echo)
	tr := w.transport()
	states := make(chan discovery.State, 8)
	tr.OnState(func(instance string, s discovery.State) {
		if instance != "inst0001" {
			t.Errorf("the state of %q", instance)
		}
		states <- s
	})
	w.roundTrip(tr, s.at, get())
	if got := within(t, "the greeting's state", states); got != discovery.Ready {
		t.Errorf("greeted as %q", got)
	}
	s.SetState(discovery.Restarting)
	if got := within(t, "the new state", states); got != discovery.Restarting {
		t.Errorf("state %q", got)
	}
}

func TestOneLinkCarriesAllCallsAndALaterOneIsNotDialled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(echo)
	tr := w.transport()
	first := get()
	first.Timing = &invoke.Timing{}
	w.roundTrip(tr, s.at, first)
	second := get()
	second.Timing = &invoke.Timing{}
	w.roundTrip(tr, s.at, second)
	if first.Timing.TLS == 0 || second.Timing.TLS != 0 || second.Timing.Connect != 0 {
		t.Errorf("handshakes took %v and %v, want the second to need none", first.Timing.TLS, second.Timing.TLS)
	}
}

func TestAHeadOver64KiBIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		a := answer(200, "")
		if c.Path == "/answer" {
			a.Fields.Add("Big", strings.Repeat("x", 70_000))
		}
		return a, nil
	})
	tr := w.transport()
	c := get()
	c.Fields.Add("Big", strings.Repeat("x", 70_000))
	if e := w.fails(tr, s.at, c); e.Reason != apperr.HeadTooLarge || e.Reached != apperr.ReachedNo {
		t.Errorf("request: %v, reached %v", e, e.Reached)
	}
	c = get()
	c.Path = "/answer"
	if e := w.fails(tr, s.at, c); e.Reason != apperr.HeadTooLarge || e.Reached != apperr.ReachedMaybe || e.At() != apperr.HopApp {
		t.Errorf("answer: %v, reached %v", e, e.Reached)
	}
	c = get()
	c.Fields.Add("Big", strings.Repeat("x", 60_000))
	w.roundTrip(tr, s.at, c) // the link is none the worse
}
