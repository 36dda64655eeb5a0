package invoke_test

import (
	"context"
	"io"
	"testing"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
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
	r := <-tap.records
	if r.Side != invoke.AtCaller || r.Verb != "POST" || r.Path != "/x" || r.Status != 201 || r.Attempts != 2 || r.Instance != answer.Instance ||
		string(r.RequestBody) != "requ" || r.RequestSize != 7 || string(r.AnswerBody) != "the " || r.AnswerSize != 10 ||
		r.Caller != "spiffe://public/ns/default/caller" || r.Err != nil {
		t.Errorf("%+v", r)
	}
	if r.Head.Before(r.Began) || r.Ended.Before(r.Head) {
		t.Errorf("times %v %v %v", r.Began, r.Head, r.Ended)
	}
	c := call("")
	c.Target.Namespace = "other"
	_, _ = i.Serve(t.Context(), c)
	if r := <-tap.records; r.Err == nil || r.Err.Reason != apperr.NamespaceDenied || r.Status != 0 {
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
