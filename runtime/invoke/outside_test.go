package invoke_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// outside is an External that knows the name pay.
type outside struct{ invoke.HandlerFunc }

func (outside) Knows(name string) bool { return name == "pay" }

func newOutside(t *testing.T, f invoke.HandlerFunc, change ...func(*invoke.Options)) *invoke.Invoker {
	t.Helper()
	mesh := meshFunc(func(context.Context, discovery.Endpoint, *invoke.Call) (*invoke.Answer, error) {
		t.Error("the call went into the mesh")
		return ok("a")
	})
	return newInvoker(t, newTable(instances(discovery.Ready, "a")...), mesh, append(change, func(o *invoke.Options) { o.External = outside{f} })...)
}

func target(t *testing.T, given string) *invoke.Call {
	t.Helper()
	to, err := invoke.ParseTarget(given)
	if err != nil {
		t.Fatal(err)
	}
	c := call("body")
	c.Target = to
	c.Fields = invoke.Fields{{"X-Own", "1"}, {"Dapr-Caller-App-Id", "admin"}, {"Pillion-X", "1"}, {"Keep-Alive", "1"}}
	return c
}

// URLs and the names of hosts leave, with nothing of ours, past all stages.
func TestCallsOutOfTheMeshPassTheSameStages(t *testing.T) {
	t.Parallel()
	for _, given := range []string{"http://host:8080", "https://host/base", "pay"} {
		staged := 0
		tap := &recorder{limit: 10, records: make(chan *invoke.Record, 1)}
		i := newOutside(t, func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
			if data, err := io.ReadAll(c.Body); string(data) != "body" || err != nil {
				t.Errorf("%q, %v", data, err)
			}
			if !slices.Equal(c.Fields, invoke.Fields{{"X-Own", "1"}}) || c.Caller != id(t, "default", "caller") || c.Attempt != 1 {
				t.Errorf("%+v", c)
			}
			c.Reached()
			return &invoke.Answer{Status: 200, Fields: invoke.Fields{{"Pillion-Error", "forged"}}, Body: invoke.BytesBody([]byte("ok"))}, nil
		}, func(o *invoke.Options) {
			o.Taps = taps(tap)
			o.Stages = []invoke.Stage{func(next invoke.Handler) invoke.Handler {
				return invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
					staged++
					return next.Serve(ctx, c)
				})
			}}
		})
		closed := false
		c := target(t, given)
		c.Body = closingBody{c.Body, &closed}
		answer, err := i.Serve(t.Context(), c)
		if err != nil {
			t.Fatalf("%s: %v", given, err)
		}
		if answer.Attempts != 1 || !answer.Peer.IsZero() || len(answer.Fields) > 0 || staged != 1 {
			t.Errorf("%s: %+v, %d stages", given, answer, staged)
		}
		_ = answer.Body.Close()
		if r := within.Receive(t, tap.records); r.Target.Given != given || r.Status != 200 || r.RequestSize != 4 || !closed {
			t.Errorf("%s: %+v, body closed %v", given, r, closed)
		}
	}
}

type closingBody struct {
	invoke.Body
	closed *bool
}

func (b closingBody) Close() error {
	*b.closed = true
	return b.Body.Close()
}

func TestCallsThatCannotLeave(t *testing.T) {
	t.Parallel()
	failing := errors.New("boom")
	i := newOutside(t, func(context.Context, *invoke.Call) (*invoke.Answer, error) { return nil, failing })
	if _, err := i.Serve(t.Context(), target(t, "pay")); !errors.Is(err, failing) {
		t.Errorf("%v", err)
	}
	c := target(t, "http://host")
	c.Verb = "CONNECT"
	if _, err := i.Serve(t.Context(), c); !apperr.Is(err, apperr.MethodRefused) {
		t.Errorf("%v", err)
	}
	none := newInvoker(t, newTable(), nil)
	if _, err := none.Serve(t.Context(), target(t, "http://host")); !apperr.Is(err, apperr.TargetInvalid) {
		t.Errorf("%v", err)
	}
}

func TestATimeOutOutsideNamesTheHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newOutside(t, func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
			time.Sleep(time.Second)
			c.Reached()
			<-ctx.Done()
			return nil, &apperr.Error{Reason: apperr.Cancelled, What: "x", Hop: apperr.HopPeer}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := i.Serve(ctx, target(t, "http://host:8080"))
		e := apperr.From(err)
		if e.Reason != apperr.DeadlineExceeded || e.At() != apperr.HopPeer || e.Reached != apperr.ReachedMaybe ||
			e.Error() != "http://host:8080 did not answer within 5s: 4s of it at the host" {
			t.Errorf("%+v: %v", e, e)
		}
	})
}
