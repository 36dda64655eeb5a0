package sidecar

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/grpcapi"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
	"github.com/pillion-dev/pillion/runtime/telemetry"
)

// Values of a span's attributes, as Dapr writes them.
const (
	serviceInvocation = "ServiceInvocation"
	daprService       = "/dapr.proto.runtime.v1.Dapr/"
	callLocal         = "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream"
)

// traceCaller is the stage of the caller's side: the span of what the own app
// asked for.
func (s *sidecar) traceCaller(next invoke.Handler) invoke.Handler {
	return invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		grpc := isGRPC(c)
		span := s.tracer.Join(&c.Fields, grpc)
		if span.Sampled() {
			return s.recordCaller(ctx, c, next, &recorded{span: span, grpc: grpc})
		}
		span.Pass(&c.Fields)
		c.Trace = span.Parent()
		answer, err := next.Serve(ctx, c)
		if err == nil {
			span.Say(&answer.Fields)
		}
		return answer, err
	})
}

func (s *sidecar) recordCaller(ctx context.Context, c *invoke.Call, next invoke.Handler, r *recorded) (*invoke.Answer, error) {
	span := &r.span
	s.tracer.Begin(ctx, span, telemetry.Client, spanName(c, c.Target.Given, r.grpc), time.Now())
	span.Note(callerFacts(c, r.grpc)...)
	span.Pass(&c.Fields)
	c.Trace = span.Parent()
	answer, err := next.Serve(ctx, c)
	if err != nil {
		r.failed(err)
		return nil, err
	}
	span.Note(telemetry.Attribute{Key: "pillion.instance", Value: answer.Instance})
	r.answered(answer, http.StatusBadRequest)
	span.Say(&answer.Fields)
	return answer, nil
}

// traceCallee is the stage of the callee's side: the span of what the own app
// is asked for. A call that is not recorded is left as it is.
func (s *sidecar) traceCallee(next invoke.Handler) invoke.Handler {
	return invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		grpc := isGRPC(c)
		span := s.tracer.Join(&c.Fields, grpc)
		if !span.Sampled() {
			span.Pass(&c.Fields)
			return next.Serve(ctx, c)
		}
		r := &recorded{span: span, grpc: grpc}
		s.tracer.Begin(ctx, &r.span, telemetry.Server, spanName(c, s.cfg.AppID, grpc), time.Now())
		r.span.Note(calleeFacts(c, grpc)...)
		r.span.Pass(&c.Fields)
		answer, err := next.Serve(ctx, c)
		if err != nil {
			r.failed(err)
			return nil, err
		}
		r.answered(answer, http.StatusInternalServerError)
		return answer, nil
	})
}

// recorded is a call whose span is recorded. It is the body of the call's
// answer, with whose end the span ends.
type recorded struct {
	invoke.Body
	span telemetry.Span
	grpc bool
	seen atomic.Bool // the trailers were
	over atomic.Bool
}

func (r *recorded) failed(err error) {
	e := apperr.From(err)
	if !r.grpc {
		r.span.Note(telemetry.Attribute{Key: "dapr.status_code", Value: strconv.Itoa(e.Reason.HTTPStatus())})
	}
	r.span.Fail(e.Message())
	r.span.End()
}

// answered notes an answer's head and waits for its body. From the status bad
// on it is a failure.
func (r *recorded) answered(a *invoke.Answer, bad int) {
	if r.grpc = r.grpc || rpc.IsGRPC(a); r.grpc {
		r.status(a.Fields)
	} else {
		r.span.Note(telemetry.Attribute{Key: "dapr.status_code", Value: strconv.Itoa(a.Status)})
	}
	if a.Status >= bad {
		r.span.Fail("Code(" + strconv.Itoa(a.Status) + "): " + statusText(a.Status))
	}
	r.Body, a.Body = a.Body, r
}

func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "Unknown"
}

// status notes a gRPC exchange's own status, which stands in its trailers, or in
// its head if there is nothing else.
func (r *recorded) status(fields invoke.Fields) {
	code := fields.Get("Grpc-Status")
	if !r.grpc || code == "" || r.seen.Swap(true) {
		return
	}
	r.span.Note(telemetry.Attribute{Key: "rpc.grpc.status_code", Value: code})
	if code != "0" {
		r.span.Fail(fields.Get("Grpc-Message"))
	}
}

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.Body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !r.over.Load() {
		r.span.Fail("the answer broke off: " + err.Error())
	}
	return n, err
}

func (r *recorded) Trailers() invoke.Fields {
	trailers := r.Body.Trailers()
	r.status(trailers)
	return trailers
}

func (r *recorded) Whole() ([]byte, bool) { return invoke.Whole(r.Body) }

func (r *recorded) Complete() ([]byte, invoke.Fields, bool) {
	rest, trailers, ok := invoke.Complete(r.Body)
	if ok {
		r.status(trailers)
	}
	return rest, trailers, ok
}

func (r *recorded) Close() error {
	if !r.over.Swap(true) {
		defer r.span.End()
	}
	return r.Body.Close()
}

// isGRPC reports whether c is an exchange of gRPC's from end to end.
func isGRPC(c *invoke.Call) bool { return c.RPC == nil && rpc.IsExchange(c.Fields) }

// spanName is Dapr's name of a call to app: the gRPC method as it is, or
// CallLocal and what is called.
func spanName(c *invoke.Call, app string, grpc bool) string {
	if grpc {
		return withoutQuery(c.Path)
	}
	return "CallLocal/" + app + "/" + method(c)
}

// method is what is called of an app, as Dapr writes it.
func method(c *invoke.Call) string { return strings.TrimPrefix(httpapi.PlainPath(c.Path), "/") }

func callerFacts(c *invoke.Call, grpc bool) []telemetry.Attribute {
	facts := make([]telemetry.Attribute, 0, 10)
	facts = append(facts,
		telemetry.Attribute{Key: "rpc.service", Value: serviceInvocation},
		telemetry.Attribute{Key: "net.peer.name", Value: c.Target.Given})
	switch {
	case grpc:
		facts = append(facts,
			telemetry.Attribute{Key: "dapr.protocol", Value: "grpc"},
			telemetry.Attribute{Key: "dapr.api", Value: withoutQuery(c.Path)})
	case c.RPC != nil:
		facts = append(facts,
			telemetry.Attribute{Key: "dapr.protocol", Value: "grpc"},
			telemetry.Attribute{Key: "dapr.api", Value: c.Asked})
	default:
		facts = append(facts, httpFacts(c.Verb, httpapi.PlainPath(c.Asked), withoutQuery(c.Asked), c.Host)...)
	}
	for _, f := range c.Fields {
		if name := strings.ToLower(f.Name); isUsers(name) {
			facts = append(facts, telemetry.Attribute{Key: name, Value: f.Value})
		}
	}
	return facts
}

// httpFacts are those of a request at the HTTP door. Neither path has the query,
// which can hold secrets.
func httpFacts(verb, path, url, host string) []telemetry.Attribute {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	return []telemetry.Attribute{
		{Key: "dapr.protocol", Value: "http"},
		{Key: "dapr.api", Value: verb + " " + path},
		{Key: "http.request.method", Value: verb},
		{Key: "url.full", Value: url},
		{Key: "server.address", Value: name},
		{Key: "server.port", Value: port},
	}
}

// isUsers reports whether a field, in small letters, is one that users put into
// their spans: dapr-*, but for what says who calls whom, and secrets.
func isUsers(name string) bool {
	return strings.HasPrefix(name, "dapr-") && !strings.HasSuffix(name, "-bin") && name != "dapr-api-token" &&
		!strings.HasPrefix(name, "dapr-caller-") && !strings.HasPrefix(name, "dapr-callee-")
}

func calleeFacts(c *invoke.Call, grpc bool) []telemetry.Attribute {
	facts := []telemetry.Attribute{
		{Key: "rpc.service", Value: serviceInvocation},
		{Key: "dapr.protocol", Value: "grpc"},
		{Key: "dapr.api", Value: callLocal},
		{Key: "pillion.caller", Value: c.Caller.String()},
	}
	if grpc {
		facts[2].Value = withoutQuery(c.Path)
		return facts
	}
	return append(facts, telemetry.Attribute{Key: "dapr.invoke_method", Value: method(c)})
}

// traceOwn is asked by the HTTP door for what it answers itself. Health checks
// are not traced, and a call is by its stage.
func (s *sidecar) traceOwn(r *http.Request, began time.Time, answer http.Header) func(int) {
	path := httpapi.PlainPath(r.RequestURI)
	if strings.HasPrefix(path, "/v1.0/healthz") || path == grpcapi.InvokeService {
		return nil
	}
	grpc := strings.HasPrefix(path, daprService)
	span, route := s.tracer.Join(r.Header, grpc), telemetry.Route(path)
	s.tracer.Begin(r.Context(), &span, telemetry.Client, route, began)
	span.Say(answer)
	switch {
	case !span.Sampled():
		return nil
	case grpc:
		return func(int) { endRPC(&span, path, answer) }
	}
	return func(status int) {
		span.Note(httpFacts(r.Method, route, route, r.Host)...)
		span.Note(telemetry.Attribute{Key: "dapr.status_code", Value: strconv.Itoa(status)})
		span.Note(stateFacts(r.Method, route)...)
		if status >= http.StatusBadRequest {
			span.Fail("Code(" + strconv.Itoa(status) + "): " + statusText(status))
		}
		span.End()
	}
}

// endRPC ends the span of a method of Dapr's own service; answer has its
// trailers by now.
func endRPC(span *telemetry.Span, method string, answer http.Header) {
	code := answer.Get("Grpc-Status")
	span.Note(
		telemetry.Attribute{Key: "rpc.service", Value: "Dapr"},
		telemetry.Attribute{Key: "dapr.protocol", Value: "grpc"},
		telemetry.Attribute{Key: "dapr.api", Value: method},
		telemetry.Attribute{Key: "rpc.grpc.status_code", Value: code},
	)
	if code != "" && code != "0" {
		span.Fail(answer.Get("Grpc-Message"))
	}
	span.End()
}

// stateFacts are those of a state request; a route says no key.
func stateFacts(verb, route string) []telemetry.Attribute {
	store, found := strings.CutPrefix(route, "/v1.0/state/")
	if !found {
		return nil
	}
	return []telemetry.Attribute{
		{Key: "db.system", Value: "state"},
		{Key: "db.connection_string", Value: "state"},
		{Key: "db.statement", Value: verb + " " + route},
		{Key: "db.name", Value: store},
	}
}
