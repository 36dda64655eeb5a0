package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// h2Client speaks HTTP/2 to a door, and loses nothing of it.
func h2Client(t *testing.T, addr string) *h2.Client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	cl := h2.NewClient(nc)
	ended := make(chan struct{})
	go func() { defer close(ended); cl.Run() }()
	t.Cleanup(func() { cl.Close(); within.Receive(t, ended) })
	return cl
}

func overH2(ctx context.Context, cl *h2.Client, c *invoke.Call) (*invoke.Answer, error) {
	if err := cl.Reserve(ctx); err != nil {
		return nil, err
	}
	return cl.RoundTrip(ctx, c, &h2.Request{Scheme: "http", Authority: "127.0.0.1:3500"})
}

// mustOverH2 is overH2 with the answer's body read.
func mustOverH2(t *testing.T, cl *h2.Client, c *invoke.Call) (*invoke.Answer, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := overH2(ctx, cl, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a, string(body)
}

func fieldsOf(pairs ...string) invoke.Fields {
	var fields invoke.Fields
	for i := 0; i < len(pairs); i += 2 {
		fields.Add(pairs[i], pairs[i+1])
	}
	return fields
}

func grpcCall(path string, fields invoke.Fields) *invoke.Call {
	return &invoke.Call{
		Verb: "POST", Path: path, Major: 2, Fields: append(fields, fieldsOf("content-type", "application/grpc")...),
		Body: invoke.BytesBody([]byte("\x00\x00\x00\x00\x00")), Length: -1,
	}
}

func TestHTTP2FieldsReachTheCallAsTheyCame(t *testing.T) {
	t.Parallel()
	cl := h2Client(t, serve(t, httpapi.Config{}))
	c := &invoke.Call{
		Verb: "POST", Path: "/v1.0/invoke/x/method//a%2Fb//c?d=%20", Major: 2,
		Fields: fieldsOf("z", "1", "a", "2", "cookie", "k=1", "z", "3", "cookie", "l=2", "te", "trailers", "pillion-timeout", "5s"),
		Body:   invoke.BytesBody([]byte("body")), Length: 4,
	}
	_, body := mustOverH2(t, cl, c)
	var got seen
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	want := seen{
		App: "x", Namespace: "", Verb: "POST", Path: "/a%2Fb//c?d=%20", Host: "127.0.0.1:3500", Major: 2, Length: 4, Body: "body",
		Fields: fieldsOf("z", "1", "a", "2", "cookie", "k=1; l=2", "z", "3"),
	}
	if standard {
		return // net/http has no order
	}
	got.Fields.Del("te") // the invoker's to remove
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("call (-want +got)\n%s", diff)
	}
}

func TestHTTP2AnswersKeepTheirOrderAndTrailers(t *testing.T) {
	t.Parallel()
	answer := invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		_ = c.Body.Close()
		_ = c.Informational(103, fieldsOf("Link", "</a>"))
		return &invoke.Answer{
			Status: 200, Fields: fieldsOf("B", "1", "a", "2", "b", "3"), Length: -1,
			Body: invoke.NewBody(io.NopCloser(strings.NewReader("answer")), func() invoke.Fields {
				return fieldsOf("grpc-status", "0", "X", "1", "x", "2")
			}),
		}, nil
	})
	cl := h2Client(t, serve(t, httpapi.Config{Invoke: answer}))
	c := grpcCall("/p.S/M", fieldsOf("dapr-app-id", "x"))
	informed := 0
	c.Informational = func(status int, fields invoke.Fields) error {
		if informed++; status != 103 || fields.Get("link") != "</a>" {
			t.Errorf("%d %v", status, fields)
		}
		return nil
	}
	a, err := overH2(t.Context(), cl, c)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(a.Body)
	if string(body) != "answer" || err != nil || informed != 1 {
		t.Errorf("%q, %v, informed %d times", body, err, informed)
	}
	trailers := a.Body.Trailers()
	_ = a.Body.Close()
	if trailers.Get("grpc-status") != "0" {
		t.Errorf("trailers %v", trailers)
	}
	if standard {
		return // net/http has no order, and loses what differs in case
	}
	if diff := cmp.Diff(fieldsOf("grpc-status", "0", "x", "1", "x", "2"), trailers); diff != "" {
		t.Errorf("trailers (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(fieldsOf("b", "1", "a", "2", "b", "3"), a.Fields); diff != "" {
		t.Errorf("fields (-want +got)\n%s", diff)
	}
}

func TestHTTP2RequestsThatAreNoCalls(t *testing.T) {
	t.Parallel()
	cl := h2Client(t, serve(t, httpapi.Config{APIToken: "secret"}))
	token := fieldsOf("dapr-api-token", "secret")
	for what, c := range map[string]struct {
		call   *invoke.Call
		status int
		want   string // in the body, or in the field grpc-status
	}{
		"health":          {&invoke.Call{Verb: "GET", Path: "/v1.0/healthz"}, 204, ""},
		"metadata":        {&invoke.Call{Verb: "GET", Path: "/v1.0/metadata", Fields: token}, 200, `"id":"todo-api"`},
		"no token":        {&invoke.Call{Verb: "GET", Path: callX}, 401, "invalid api token"},
		"no token, gRPC":  {grpcCall("/p.S/M", fieldsOf("dapr-app-id", "x")), 200, "16"},
		"no target":       {&invoke.Call{Verb: "GET", Path: "/what", Fields: token}, 404, "ERR_DIRECT_INVOKE"},
		"no target, gRPC": {grpcCall("/p.S/M", token.Clone()), 200, "2"},
		"Dapr's package":  {grpcCall("/dapr.proto.runtime.v1.Dapr/Unknown", token.Clone()), 200, "2"},
		"a bad time":      {&invoke.Call{Verb: "GET", Path: callX, Fields: append(token.Clone(), fieldsOf("pillion-timeout", "soon")...)}, 400, "pillion-timeout"},
		"a call":          {&invoke.Call{Verb: "GET", Path: callX, Fields: token}, 200, `"App":"app"`},
	} {
		a, body := mustOverH2(t, cl, c.call)
		if a.Status != c.status || !strings.Contains(body+a.Fields.Get("grpc-status"), c.want) {
			t.Errorf("%s: %d %v %q, want %d and %q", what, a.Status, a.Fields, body, c.status, c.want)
		}
	}
}

func TestHTTP2ErrorsOfCalls(t *testing.T) {
	t.Parallel()
	cl := h2Client(t, serve(t, httpapi.Config{Invoke: failing(notFound())}))
	a, body := mustOverH2(t, cl, &invoke.Call{Verb: "GET", Path: callX})
	if a.Status != 500 || !strings.Contains(body, `"errorCode":"ERR_DIRECT_INVOKE"`) || a.Fields.Get("pillion-error") != "APP_NOT_FOUND" {
		t.Errorf("%d %v %s", a.Status, a.Fields, body)
	}
	a, body = mustOverH2(t, cl, grpcCall("/p.S/M", fieldsOf("dapr-app-id", "x")))
	if a.Status != 200 || body != "" || a.Fields.Get("grpc-status") != "2" || a.Fields.Get("grpc-status-details-bin") == "" {
		t.Errorf("%d %v %s", a.Status, a.Fields, body)
	}
}

func TestAnHTTP2ClientThatLeavesEndsTheCallAtOnce(t *testing.T) {
	t.Parallel()
	began, ended := make(chan struct{}), make(chan struct{})
	addr := serve(t, httpapi.Config{Invoke: invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		began <- struct{}{}
		<-ctx.Done()
		if c.Body != nil {
			_ = c.Body.Close()
		}
		ended <- struct{}{}
		return nil, &apperr.Error{Reason: apperr.Cancelled}
	})})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if _, err := overH2(ctx, h2Client(t, addr), &invoke.Call{Verb: "GET", Path: callX}); !errors.Is(err, context.Canceled) {
		t.Errorf("reset: %v", err)
	}
	within.Receive(t, ended)
	cl := h2Client(t, addr)
	go func() { <-began; cl.Close() }()
	if _, err := overH2(t.Context(), cl, &invoke.Call{Verb: "GET", Path: callX}); err == nil {
		t.Error("an answer on a closed connection")
	}
	within.Receive(t, ended)
}

func TestTheTimeAnHTTP2ClientAllows(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{Invoke: invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Body != nil {
			_ = c.Body.Close()
		}
		<-ctx.Done()
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(callctx.Cause(ctx), context.DeadlineExceeded) {
			t.Errorf("%v, %v", ctx.Err(), callctx.Cause(ctx))
		}
		return nil, &apperr.Error{Reason: apperr.DeadlineExceeded, What: "time is up"}
	})})
	cl := h2Client(t, addr)
	a, _ := mustOverH2(t, cl, &invoke.Call{Verb: "GET", Path: callX, Fields: fieldsOf("pillion-timeout", "20ms")})
	if a.Fields.Get("pillion-error") != "DEADLINE_EXCEEDED" {
		t.Errorf("%v", a.Fields)
	}
	a, _ = mustOverH2(t, cl, grpcCall("/p.S/M", fieldsOf("dapr-app-id", "x", "grpc-timeout", "20m")))
	if a.Fields.Get("grpc-status") != "4" {
		t.Errorf("%v", a.Fields)
	}
}

func TestAHundredHTTP2CallsDoNotMix(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{Invoke: invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		return &invoke.Answer{Status: 200, Fields: fieldsOf("path", c.Path), Length: -1, Body: c.Body}, nil
	})})
	cl := h2Client(t, addr)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			body := strings.Repeat(string(rune('!'+i%90)), 1+i*1999)
			path := "/" + strings.Repeat("p", i)
			a, err := overH2(ctx, cl, &invoke.Call{
				Verb: "POST", Path: "/v1.0/invoke/x/method" + path, Body: invoke.BytesBody([]byte(body)), Length: int64(len(body)),
			})
			if err != nil {
				t.Error(err)
				return
			}
			got, err := io.ReadAll(a.Body)
			_ = a.Body.Close()
			if string(got) != body || a.Fields.Get("path") != path {
				t.Errorf("call %d: %d of %d bytes, path %s, %v", i, len(got), len(body), a.Fields.Get("path"), err)
			}
		})
	}
	wg.Wait()
}

func TestOpenHTTP2CallsEndBeforeTheDoor(t *testing.T) {
	t.Parallel()
	began, release := make(chan struct{}), make(chan struct{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := serveOn(t, httpapi.Config{Drain: patience, Invoke: invoke.HandlerFunc(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		close(began)
		<-release
		return &invoke.Answer{Status: 204, Body: invoke.BytesBody(nil)}, nil
	})}, ln)
	cl := h2Client(t, ln.Addr().String())
	answered := make(chan error, 1)
	go func() {
		a, err := overH2(t.Context(), cl, &invoke.Call{Verb: "GET", Path: callX})
		if err == nil {
			_ = a.Body.Close()
		}
		answered <- err
	}()
	within.Receive(t, began)
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	for cl.Usable() { // until the door has said that it goes
		time.Sleep(time.Millisecond)
	}
	close(release)
	if err := within.Receive(t, answered); err != nil {
		t.Error(err)
	}
	within.Receive(t, stopped)
}

func TestRequestsAreCountedByEngine(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var logged []httpapi.APICall
	var mu sync.Mutex
	cfg := httpapi.Config{
		Standard: standard, Invoke: invoke.HandlerFunc(reflectOrMiss), Drain: time.Millisecond,
		APILog: func(c httpapi.APICall) { mu.Lock(); logged = append(logged, c); mu.Unlock() },
	}
	s := httpapi.New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	cl := h2Client(t, ln.Addr().String())
	mustOverH2(t, cl, &invoke.Call{Verb: "GET", Path: callX})
	_, body := mustOverH2(t, cl, &invoke.Call{Verb: "GET", Path: strings.Replace(callX, "/app/", "/nobody/", 1), Fields: fieldsOf("user-agent", "test")})
	mustOverH2(t, cl, &invoke.Call{Verb: "GET", Path: "/v1.0/healthz"})
	cancel()
	if err := within.Receive(t, ended); err != nil {
		t.Error(err)
	}
	want := httpapi.Counts{HTTP2: 3}
	if standard {
		want = httpapi.Counts{Standard: 3}
	}
	if got := s.Counts(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	mu.Lock()
	defer mu.Unlock()
	// A line is written behind its answer, so the next one's may come first.
	slices.SortFunc(logged, func(a, b httpapi.APICall) int { return b.Code - a.Code })
	// What the app answered is the tap's to log.
	if len(logged) != 2 || logged[0].Code != 500 || logged[0].Size != int64(len(body)) || logged[0].Target != "nobody" ||
		logged[0].UserAgent != "test" || logged[1].Code != 204 {
		t.Errorf("logged %+v", logged)
	}
}
