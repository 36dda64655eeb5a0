// Package telemetry is what a sidecar tells about its calls: traces to a
// collector, metrics to whoever scrapes them. It knows neither calls nor doors:
// they are told to it in plain words, and what is switched off is not told.
package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Headers are the header lines of a request or an answer, by name without
// regard to case. http.Header is one.
type Headers interface {
	// Get returns the first value of name, or "".
	Get(name string) string
	// Set replaces the lines called name by one.
	Set(name, value string)
	// Del removes the lines called name.
	Del(name string)
}

// A Tracer takes part in traces. It is safe for concurrent use.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	rate     float64 // of the traces that begin here
}

// A Kind is a span's side of a call.
type Kind trace.SpanKind

// The kinds.
const (
	Client = Kind(trace.SpanKindClient)
	Server = Kind(trace.SpanKindServer)
)

// An Attribute is one fact about a span.
type Attribute struct{ Key, Value string }

// A Span is a call's place in a trace, and what is recorded of it. It belongs to
// one goroutine at a time.
type Span struct {
	here   traceContext
	joined bool   // the trace came with the request
	state  string // tracestate
	grpc   bool   // an exchange of gRPC's
	both   bool   // in gRPC's form, too
	text   string // traceparent
	span   trace.Span
}

// Join finds the place in a trace that a request comes with, or begins a trace,
// and decides whether it is recorded: a trace that came has been decided upon.
// A gRPC request's older form goes before traceparent, as Dapr has it.
func (t *Tracer) Join(h Headers, grpc bool) Span {
	old := h.Get(fieldBinary)
	s := Span{grpc: grpc, both: grpc || old != ""}
	if grpc {
		s.here, s.joined = parseBinary(old)
	}
	if !s.joined {
		s.here, s.joined = parseParent(h.Get(fieldParent))
	}
	if !s.joined && !grpc {
		s.here, s.joined = parseBinary(old)
	}
	if s.joined {
		if state := h.Get(fieldState); len(state) <= maxState {
			s.state = state
		}
		return s
	}
	s.here = newContext()
	if rand.Float64() < t.rate { //nolint:gosec // a choice, not a secret
		s.here.flags = flagSampled
	}
	return s
}

// newContext is where a trace begins that is not recorded.
func newContext() (c traceContext) {
	for !c.valid() {
		binary.NativeEndian.PutUint64(c.trace[:8], rand.Uint64()) //nolint:gosec // an id, not a secret
		binary.NativeEndian.PutUint64(c.trace[8:], rand.Uint64()) //nolint:gosec // likewise
		binary.NativeEndian.PutUint64(c.span[:], rand.Uint64())   //nolint:gosec // likewise
	}
	return c
}

// Sampled reports whether the trace is recorded: whoever has to make a name or
// an attribute need not otherwise.
func (s *Span) Sampled() bool { return s.here.sampled() }

// Begin records a span of the trace from at on; End must be called. It does
// nothing for a trace that is not recorded: there the place stays that of who
// has called.
func (t *Tracer) Begin(ctx context.Context, s *Span, kind Kind, name string, at time.Time) {
	if !s.here.sampled() {
		return
	}
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKind(kind)), trace.WithTimestamp(at),
	}
	if s.joined {
		ctx = trace.ContextWithRemoteSpanContext(ctx, s.remote())
	} else {
		options = append(options, trace.WithNewRoot())
	}
	_, s.span = t.tracer.Start(ctx, name, options...)
	if is := s.span.SpanContext(); is.IsValid() {
		s.here = traceContext{trace: is.TraceID(), span: is.SpanID(), flags: byte(is.TraceFlags())}
	}
}

func (s *Span) remote() trace.SpanContext {
	state, err := trace.ParseTraceState(s.state)
	if err != nil {
		state = trace.TraceState{} // it is passed on as it came, and not recorded
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: s.here.trace, SpanID: s.here.span, TraceFlags: trace.TraceFlags(s.here.flags),
		TraceState: state, Remote: true,
	})
}

// Parent is the traceparent of what comes behind the span.
func (s *Span) Parent() string {
	if s.text == "" {
		s.text = s.here.String()
	}
	return s.text
}

// Pass writes the span's place into the request that goes on. What came and is
// still true is left alone.
func (s *Span) Pass(h Headers) {
	if !s.joined {
		h.Del(fieldState) // it belongs to another trace, which could not be read
	}
	if text := h.Get(fieldParent); text == "" || text != s.Parent() {
		h.Set(fieldParent, s.Parent())
	}
	if !s.both {
		return
	}
	if now := s.here.binary(); h.Get(fieldBinary) != now {
		h.Set(fieldBinary, now)
	}
}

// Say writes the span's place into an answer that does not say one.
func (s *Span) Say(h Headers) {
	if h.Get(fieldParent) != "" {
		return
	}
	h.Set(fieldParent, s.Parent())
	if s.state != "" {
		h.Set(fieldState, s.state)
	}
	if s.grpc {
		h.Set(fieldBinary, s.here.binary())
	}
}

// Note adds attributes; those without a value are left out.
func (s *Span) Note(attributes ...Attribute) {
	if s.span == nil {
		return
	}
	all := make([]attribute.KeyValue, 0, len(attributes))
	for _, a := range attributes {
		if a.Value != "" {
			all = append(all, attribute.String(a.Key, a.Value))
		}
	}
	s.span.SetAttributes(all...)
}

// Fail says that what the span is about failed, and why.
func (s *Span) Fail(why string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, why)
	}
}

// End ends what Begin began; only the first end counts. It does not wait for
// anything.
func (s *Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// Close sends what was recorded until now, for as long as ctx lets it, and
// records nothing more.
func (t *Tracer) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }
