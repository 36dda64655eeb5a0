package invoke_test

import (
	"context"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

func id(t *testing.T, namespace, app string) identity.ID {
	t.Helper()
	got, err := identity.New("public", namespace, app)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// table is a Resolver whose instances the test sets.
type table struct {
	mu       sync.Mutex // guards what follows
	found    []discovery.Endpoint
	known    bool
	version  uint64
	changed  chan struct{}
	failed   []string
	answered int
	running  []string
	nearest  string
}

func newTable(found ...discovery.Endpoint) *table {
	return &table{found: found, known: len(found) > 0, changed: make(chan struct{})}
}

func (r *table) set(found ...discovery.Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found = found
	r.version++
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *table) Endpoints(context.Context, discovery.Key) ([]discovery.Endpoint, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.found, nil
}

func (r *table) Present(discovery.Key) []discovery.Endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.found
}

func (r *table) Changed(ctx context.Context, _ discovery.Key, version uint64) (uint64, error) {
	for {
		r.mu.Lock()
		now, changed := r.version, r.changed
		r.mu.Unlock()
		if now != version {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (r *table) Version(discovery.Key) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version
}

func (r *table) Known(discovery.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

func (r *table) Answered(discovery.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered++
}

func (r *table) Failed(e discovery.Endpoint) {
	r.mu.Lock()
	r.failed = append(r.failed, e.Instance)
	r.found = slices.DeleteFunc(slices.Clone(r.found), func(x discovery.Endpoint) bool { return x.Instance == e.Instance })
	r.mu.Unlock()
}

func (r *table) Near(discovery.Key) ([]string, string) { return r.running, r.nearest }

// meshFunc is a Mesh.
type meshFunc func(ctx context.Context, to discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error)

func (f meshFunc) Send(ctx context.Context, to discovery.Endpoint, want identity.ID, c *invoke.Call) (*invoke.Answer, error) {
	if want.App() != "callee" {
		return nil, &apperr.Error{Reason: apperr.Internal, What: "wanted " + want.String()}
	}
	return f(ctx, to, c)
}

func instance(name string, state discovery.State) discovery.Endpoint {
	return discovery.Endpoint{
		Key: discovery.Key{Namespace: "default", App: "callee"}, Instance: name, State: state, Local: true, Source: "local",
		Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:4000")},
	}
}

func instances(state discovery.State, names ...string) []discovery.Endpoint {
	var all []discovery.Endpoint
	for _, name := range names {
		all = append(all, instance(name, state))
	}
	return all
}

func newInvoker(t *testing.T, r invoke.Resolver, m invoke.Mesh, change ...func(*invoke.Options)) *invoke.Invoker {
	t.Helper()
	o := invoke.Options{Self: id(t, "default", "caller"), Resolver: r, Mesh: m, HostName: "box"}
	for _, f := range change {
		f(&o)
	}
	return invoke.New(o)
}

func call(body string) *invoke.Call {
	c := &invoke.Call{Target: invoke.Target{App: "callee", Given: "callee"}, Verb: "POST", Path: "/x", Major: 1}
	if body != "" {
		c.Body, c.Length = invoke.BytesBody([]byte(body)), int64(len(body))
	}
	return c
}

// streamed is body as if its bytes came from a socket.
func streamed(body invoke.Body) invoke.Body { return invoke.NewBody(body, body.Trailers) }

func ok(instance string) (*invoke.Answer, error) {
	return &invoke.Answer{Status: 200, Body: invoke.BytesBody([]byte("ok")), Length: 2, Instance: instance}, nil
}

func refusal(reason apperr.Reason, reached apperr.Reached) error {
	return &apperr.Error{Reason: reason, What: string(reason), Reached: reached}
}

func serve(t *testing.T, i *invoke.Invoker, c *invoke.Call) *invoke.Answer {
	t.Helper()
	answer, err := i.Serve(t.Context(), c)
	if err != nil {
		t.Fatalf("Serve: %v", err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]invoke.Target{
		"app":    {App: "app", Given: "app"},
		"app.ns": {App: "app", Namespace: "ns", Given: "app.ns"},
		"a-b_C1": {App: "a-b_C1", Given: "a-b_C1"},

		"http://x":                 {Given: "http://x", URL: "http://x"},
		"HTTPS://x.example:1/base": {Given: "HTTPS://x.example:1/base", URL: "HTTPS://x.example:1/base"},
		"http://[::1]:8080":        {Given: "http://[::1]:8080", URL: "http://[::1]:8080"},
	} {
		if got, err := invoke.ParseTarget(given); got != want || err != nil {
			t.Errorf("ParseTarget(%q) = %+v, %v, want %+v", given, got, err, want)
		}
	}
	for _, given := range []string{
		"a.b.c", "a.", ".b", "a b", "-a", strings.Repeat("a", 64), "a/b",
		"http://", "http:///x", "http://:80", "http://u:p@x", "http://x?q", "http://x#f", "http://x:0", "http://x:99999", "http://a b", "http://x/%zz",
	} {
		_, err := invoke.ParseTarget(given)
		e := apperr.From(err)
		if !apperr.Is(err, apperr.TargetInvalid) || e.Dapr != "invalid app id "+given || e.Reached != apperr.ReachedNo {
			t.Errorf("ParseTarget(%q): %v", given, err)
		}
	}
	if _, err := invoke.ParseTarget(""); !apperr.Is(err, apperr.TargetMissing) {
		t.Errorf("ParseTarget(\"\"): %v", err)
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"a", "a.b", "a.b.c", "http://x", "", "a..b", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := invoke.ParseTarget(s)
		if err != nil {
			return
		}
		if got.URL != "" {
			if got != (invoke.Target{Given: s, URL: s}) || invoke.CheckBase(s) != "" {
				t.Errorf("ParseTarget(%q) = %+v", s, got)
			}
			return
		}
		back := got.App
		if got.Namespace != "" {
			back += "." + got.Namespace
		}
		if back != s || identity.CheckAppID(got.App) != nil || got.Namespace != "" && identity.CheckNamespace(got.Namespace) != nil {
			t.Errorf("ParseTarget(%q) = %+v", s, got)
		}
	})
}

func TestStripHopByHop(t *testing.T) { // not parallel: it counts allocations
	f := invoke.Fields{
		{"Host", "x"},
		{"connection", "X-Mine, Keep-Alive"},
		{"x-mine", "1"},
		{"Keep-Alive", "5"},
		{"TE", "trailers"},
		{"Transfer-Encoding", "chunked"},
		{"Upgrade", "websocket"},
		{"Content-Length", "3"},
		{"Trailer", "X-Sum"},
		{"Proxy-Authorization", "secret"},
		{"HTTP2-Settings", "AAA"},
		{"X-Kept", "1"},
		{"X-Kept", "2"},
	}
	invoke.StripHopByHop(&f)
	want := invoke.Fields{{"Trailer", "X-Sum"}, {"X-Kept", "1"}, {"X-Kept", "2"}}
	if !slices.Equal(f, want) {
		t.Errorf("left %v, want %v", f, want)
	}
	if n := testing.AllocsPerRun(100, func() { invoke.StripHopByHop(&f) }); n != 0 {
		t.Errorf("nothing to strip costs %v allocations", n)
	}
}

func TestTheCallerIsWhoTheSidecarSays(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"callee", "caller"} {
		var got invoke.Call
		keep := func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
			got = *c
			a, err := ok("i1")
			a.Fields = invoke.Fields{{"X-App", "1"}, {"pillion-error", "FORGED"}, {"Connection", "X-Hop"}, {"X-Hop", "1"}}
			return a, err
		}
		i := newInvoker(t, newTable(instance("i1", discovery.Ready)),
			meshFunc(func(ctx context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
				return keep(ctx, c)
			}),
			func(o *invoke.Options) { o.Local = invoke.HandlerFunc(keep) })
		c := call("")
		c.Target.App = target
		c.Fields = invoke.Fields{
			{"dapr-caller-app-id", "admin"},
			{"Dapr-Caller-Namespace", "prod"},
			{"Dapr-Callee-App-Id", "other"},
			{"X-Forwarded-For", "10.0.0.9"},
			{"Pillion-Anything", "1"},
			{"Connection", "close"},
			{"X-Kept", "1"},
		}
		answer := serve(t, i, c)
		want := invoke.Fields{
			{"X-Forwarded-For", "10.0.0.9"},
			{"X-Kept", "1"},
			{"Dapr-Caller-App-Id", "caller"},
			{"Dapr-Caller-Namespace", "default"},
			{"Dapr-Callee-App-Id", target},
			{"X-Forwarded-For", "127.0.0.1"},
			{"X-Forwarded-Host", "box"},
			{"Forwarded", "for=127.0.0.1;by=127.0.0.1;host=box"},
		}
		if !slices.Equal(got.Fields, want) {
			t.Errorf("%s got %v, want %v", target, got.Fields, want)
		}
		if got.Caller != id(t, "default", "caller") || !got.Only {
			t.Errorf("%s: caller %v, only %v", target, got.Caller, got.Only)
		}
		if !slices.Equal(answer.Fields, invoke.Fields{{"X-App", "1"}}) {
			t.Errorf("answer's fields %v", answer.Fields)
		}
		if data, err := io.ReadAll(answer.Body); string(data) != "ok" || err != nil {
			t.Errorf("body %q, %v", data, err)
		}
	}
}

func TestIPv6IsBracketedInForwarded(t *testing.T) {
	t.Parallel()
	var got string
	i := newInvoker(t, newTable(instance("i1", discovery.Ready)), meshFunc(func(_ context.Context, _ discovery.Endpoint, c *invoke.Call) (*invoke.Answer, error) {
		got = c.Fields.Get("Forwarded")
		return ok("i1")
	}), func(o *invoke.Options) { o.HostAddr = netip.MustParseAddr("fd00::1") })
	serve(t, i, call(""))
	if want := `for="[fd00::1]";by="[fd00::1]";host=box`; got != want {
		t.Errorf("Forwarded: %s, want %s", got, want)
	}
}

// wants is a Mesh that notes whom a call is for.
type wants func(want identity.ID)

func (f wants) Send(_ context.Context, _ discovery.Endpoint, want identity.ID, _ *invoke.Call) (*invoke.Answer, error) {
	f(want)
	return ok("i1")
}

// Whether a call may cross is the callee's to say: it goes out, for exactly the
// app that was asked for.
func TestCallsGoIntoTheNamespaceThatIsNamed(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{
		"": "spiffe://public/ns/default/callee", "default": "spiffe://public/ns/default/callee", "prod": "spiffe://public/ns/prod/callee",
	} {
		var got identity.ID
		c := call("body")
		c.Target.Namespace = namespace
		serve(t, newInvoker(t, newTable(instance("i1", discovery.Ready)), wants(func(id identity.ID) { got = id })), c)
		if got.String() != want {
			t.Errorf("a call into %q is for %s, want %s", namespace, got, want)
		}
	}
}

func TestACallThatMayNotCrossIsToldTheRuleThatWouldLetIt(t *testing.T) {
	t.Parallel()
	caller, err := identity.New("public", "default", "caller")
	if err != nil {
		t.Fatal(err)
	}
	callee, err := caller.Sibling("prod", "callee")
	if err != nil {
		t.Fatal(err)
	}
	e := invoke.NamespaceDenied(caller, callee, call("body"))
	if e.Reason != apperr.NamespaceDenied || e.Reason.HTTPStatus() != 403 || e.At() != apperr.HopAccess || e.Reached != apperr.ReachedNo {
		t.Errorf("%+v", e)
	}
	for _, want := range []string{
		"access control policy has denied access to id: spiffe://public/ns/default/caller operation: x verb: POST",
		"{appId: caller, trustDomain: public, namespace: default, defaultAction: allow}",
	} {
		if !strings.Contains(e.Message(), want) {
			t.Errorf("%q lacks %q", e.Message(), want)
		}
	}
}
