package invoke_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// recorder is a Tap that keeps what it sees.
type recorder struct {
	limit   int
	records chan *invoke.Record
}

func (r *recorder) Want(invoke.Side, *invoke.Call) int { return r.limit }
func (r *recorder) Seen(rec *invoke.Record)            { r.records <- rec }

func taps(all ...invoke.Tap) *invoke.Taps {
	t := new(invoke.Taps)
	for _, one := range all {
		t.Attach(one)
	}
	return t
}

func TestATapSeesCallsAndTheirFirstBytes(t *testing.T) {
	t.Parallel()
	tap := &recorder{limit: 4, records: make(chan *invoke.Record, 1)}
	i := newInvoker(t, newTable(instances(discovery.Ready, "a", "b")...), meshFunc(func(_ context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		if c.Attempt == 1 {
			return nil, refusal(apperr.Refused, apperr.ReachedNo)
		}
		_, _ = io.ReadAll(c.Body)
		return &invoke.Answer{Status: 201, Body: invoke.BytesBody([]byte("the answer")), Instance: to.Instance}, nil
	}), func(o *invoke.Options) { o.Taps = taps(tap) })
	answer := serve(t, i, call("request"))
	_, _ = io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	_ = answer.Body.Close() // seen once
	r := within.Receive(t, tap.records)
	if r.Side != invoke.AtCaller || r.Verb != "POST" || r.Path != "/x" || r.Status != 201 || r.Attempts != 2 || r.Instance != answer.Instance ||
		string(r.RequestBody) != "requ" || r.RequestSize != 7 || string(r.AnswerBody) != "the " || r.AnswerSize != 10 ||
		r.Caller != "spiffe://public/ns/default/caller" || r.Err != nil {
		t.Errorf("%+v", r)
	}
	if r.Head.Before(r.Began) || r.Ended.Before(r.Head) {
		t.Errorf("times %v %v %v", r.Began, r.Head, r.Ended)
	}
	c := call("")
	c.Target = invoke.Target{}
	_, _ = i.Serve(t.Context(), c)
	if r := within.Receive(t, tap.records); r.Err == nil || r.Err.Reason != apperr.TargetMissing || r.Status != 0 {
		t.Errorf("a failed call: %+v", r)
	}
	tap.limit = -1
	serve(t, i, call("x"))
	select {
	case r := <-tap.records:
		t.Errorf("an unwanted call was seen: %+v", r)
	default:
	}
}

func TestWithoutATapNothingIsSpent(t *testing.T) { // not parallel: it counts allocations
	answer := &invoke.Answer{Status: 200, Body: invoke.BytesBody(nil)}
	plain := invoke.HandlerFunc(func(context.Context, *invoke.Call) (*invoke.Answer, error) { return answer, nil })
	tapped := invoke.TapStage(invoke.AtCallee, new(invoke.Taps))(plain)
	c := call("")
	n := testing.AllocsPerRun(100, func() {
		if _, err := tapped.Serve(t.Context(), c); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The one that wants most decides how much is kept; who comes later sees what
// begins later, and who leaves sees no more.
func TestReadersComeAndGo(t *testing.T) {
	t.Parallel()
	all := new(invoke.Taps)
	i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(_ context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		_, _ = io.ReadAll(c.Body)
		return ok(to.Instance)
	}), func(o *invoke.Options) { o.Taps = all })
	do := func() {
		answer, err := i.Serve(t.Context(), call("request"))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	newRecorder := func(limit int) *recorder { return &recorder{limit: limit, records: make(chan *invoke.Record, 10)} }
	little, much, none := newRecorder(2), newRecorder(5), newRecorder(-1)
	do() // nobody listens
	leave := all.Attach(little)
	do()
	all.Attach(none)
	leaveMuch := all.Attach(much)
	do()
	leave()
	leave()
	do()
	leaveMuch()
	do()
	if len(little.records) != 2 || len(much.records) != 2 || len(none.records) != 0 {
		t.Fatalf("%d, %d and %d records", len(little.records), len(much.records), len(none.records))
	}
	if r := within.Receive(t, little.records); string(r.RequestBody) != "re" || r.RequestSize != 7 {
		t.Errorf("alone: %q of %d", r.RequestBody, r.RequestSize)
	}
	if r := within.Receive(t, little.records); string(r.RequestBody) != "reque" || r != within.Receive(t, much.records) {
		t.Errorf("with another: %q", r.RequestBody)
	}
}

// A body that is sent in one piece is seen like one that is read, and once.
func TestABodyTakenWholeIsSeenOnce(t *testing.T) {
	t.Parallel()
	tap := &recorder{limit: 100, records: make(chan *invoke.Record, 1)}
	i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(_ context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		data, ok := invoke.Whole(c.Body)
		if !ok || string(data) != "request" {
			t.Errorf("not whole: %q", data)
		}
		return &invoke.Answer{Status: 200, Body: invoke.BytesBody([]byte("answer")), Length: 6, Instance: to.Instance}, nil
	}), func(o *invoke.Options) { o.Taps = taps(tap) })
	for name, take := range map[string]func(invoke.Body){
		"whole":            func(b invoke.Body) { invoke.Whole(b) },
		"whole twice":      func(b invoke.Body) { invoke.Whole(b); invoke.Complete(b) },
		"read":             func(b invoke.Body) { _, _ = io.ReadAll(b) },
		"whole, then read": func(b invoke.Body) { invoke.Whole(b); _, _ = io.ReadAll(b) },
		"begun, then whole": func(b invoke.Body) {
			_, _ = io.ReadFull(b, make([]byte, 2))
			if rest, _ := invoke.Whole(b); string(rest) != "swer" {
				t.Errorf("the rest is %q", rest)
			}
		},
	} {
		answer, err := i.Serve(t.Context(), call("request"))
		if err != nil {
			t.Fatal(err)
		}
		take(answer.Body)
		_ = answer.Body.Close()
		r := within.Receive(t, tap.records)
		if string(r.RequestBody) != "request" || r.RequestSize != 7 || string(r.AnswerBody) != "answer" || r.AnswerSize != 6 {
			t.Errorf("%s: %q %d, %q %d", name, r.RequestBody, r.RequestSize, r.AnswerBody, r.AnswerSize)
		}
	}
}

func TestATunnelIsSeenInBothDirections(t *testing.T) {
	t.Parallel()
	tap := &recorder{limit: 3, records: make(chan *invoke.Record, 1)}
	var got strings.Builder
	i := newInvoker(t, newTable(instances(discovery.Ready, "a")...), meshFunc(func(_ context.Context, to discovery.Endpoint, _ *invoke.Call) (*invoke.Answer, error) {
		return &invoke.Answer{Status: 101, Body: invoke.BytesBody([]byte("server")), Upgraded: writeHalf{&got}, Instance: to.Instance}, nil
	}), func(o *invoke.Options) { o.Taps = taps(tap) })
	answer := serve(t, i, call(""))
	_, _ = io.WriteString(answer.Upgraded, "client")
	_, _ = io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	r := within.Receive(t, tap.records)
	if got.String() != "client" || string(r.RequestBody) != "cli" || r.RequestSize != 6 || string(r.AnswerBody) != "ser" || r.AnswerSize != 6 {
		t.Errorf("%q, %+v", got.String(), r)
	}
}

type writeHalf struct{ io.Writer }

func (writeHalf) CloseWrite() error { return nil }
