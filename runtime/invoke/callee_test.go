package invoke_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

type accessFunc func(*invoke.Call) error

func (f accessFunc) Allow(c *invoke.Call) error { return f(c) }

func TestTheCalleeChecksBeforeTheAppSeesAnything(t *testing.T) {
	t.Parallel()
	allow := func(*invoke.Call) error { return nil }
	for name, c := range map[string]struct {
		caller identity.ID
		target string
		access accessFunc
		want   apperr.Reason // "" if it passes
	}{
		"allowed":       {id(t, "default", "caller"), "callee", allow, ""},
		"no target":     {id(t, "default", "caller"), "", allow, ""},
		"no identity":   {identity.ID{}, "callee", allow, apperr.PeerNotTrusted},
		"another app":   {id(t, "default", "caller"), "other", allow, apperr.PeerNotTrusted},
		"denied":        {id(t, "default", "caller"), "callee", func(*invoke.Call) error { return refusal(apperr.AccessDenied, apperr.ReachedMaybe) }, apperr.AccessDenied},
		"denied plain":  {id(t, "default", "caller"), "callee", func(*invoke.Call) error { return errors.New("no") }, apperr.Internal},
		"access is own": {id(t, "other", "caller"), "callee", allow, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got invoke.Fields
			reached := false
			h := invoke.NewCallee(invoke.CalleeOptions{
				Self: id(t, "default", "callee"), Access: c.access,
				App: invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
					got, reached = c.Fields, true
					return &invoke.Answer{Status: 200, Fields: invoke.Fields{{"Pillion-Error", "x"}, {"X-App", "1"}}}, nil
				}),
			})
			closed := false
			call := &invoke.Call{
				Caller: c.caller, Target: invoke.Target{App: c.target}, Verb: "GET", Path: "/",
				Fields: invoke.Fields{{"Dapr-Caller-App-Id", "admin"}, {"pillion-x", "1"}, {"X-Kept", "1"}},
				Body:   invoke.NewBody(closing{func() { closed = true }}, nil),
			}
			answer, err := h.Serve(t.Context(), call)
			if c.want != "" {
				if e := apperr.From(err); e.Reason != c.want || e.Reached != apperr.ReachedNo || reached || !closed {
					t.Errorf("%+v, app reached %v, body closed %v; want %s", e, reached, closed, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := invoke.Fields{
				{"X-Kept", "1"},
				{"Dapr-Caller-App-Id", "caller"},
				{"Dapr-Caller-Namespace", c.caller.Namespace()},
				{"Dapr-Callee-App-Id", "callee"},
			}
			if !slices.Equal(got, want) {
				t.Errorf("the app got %v, want %v", got, want)
			}
			if answer.Body == nil || answer.Fields.Has("pillion-error") || !answer.Fields.Has("X-App") {
				t.Errorf("answer %+v", answer)
			}
		})
	}
}

type closing struct{ f func() }

func (closing) Read([]byte) (int, error) { return 0, errors.New("not read") }
func (c closing) Close() error           { c.f(); return nil }
