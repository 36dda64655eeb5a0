package invoke_test

import (
	"context"
	"io"
	"testing"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Some servers put trailers among the fields: what may not come as a field may
// not come behind the body either.
func TestNobodyForgesAnIdentityBehindTheBody(t *testing.T) {
	t.Parallel()
	forged := func() invoke.Fields {
		return invoke.Fields{
			{"X-Sum", "1"}, {"Dapr-Caller-App-Id", "admin"}, {"dapr-callee-app-id", "x"}, {"Pillion-Hop", "x"}, {"Content-Length", "5"},
		}
	}
	var got invoke.Fields
	app := invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		_, _ = io.Copy(io.Discard, c.Body)
		got = c.Body.Trailers()
		return ok("a")
	})
	mesh := meshFunc(func(ctx context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		return app.Serve(ctx, c)
	})
	caller := id(t, "default", "caller")
	instances := newTable(instances(discovery.Ready, "a")...)
	for name, h := range map[string]invoke.Handler{
		"through the mesh": newInvoker(t, instances, mesh),
		"to itself": newInvoker(t, instances, mesh, func(o *invoke.Options) {
			o.Self, o.Local = id(t, "default", "callee"), app
		}),
		"from a caller's sidecar": invoke.NewCallee(invoke.CalleeOptions{
			Self: id(t, "default", "callee"), Access: accessFunc(func(*invoke.Call) error { return nil }), App: app,
		}),
	} {
		c := call("body")
		c.Caller = caller
		c.Body = invoke.NewBody(io.NopCloser(c.Body), forged)
		answer, err := h.Serve(t.Context(), c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = answer.Body.Close()
		if len(got) != 1 || got.Get("X-Sum") != "1" {
			t.Errorf("%s: the app's trailers are %v", name, got)
		}
	}
}
