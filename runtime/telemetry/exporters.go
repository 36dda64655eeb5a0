package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/zipkin" //nolint:staticcheck // deprecated in favour of OTLP, which Dapr's users choose when they choose to
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// Protocols of OTLP, as the Configuration names them.
const (
	protoGRPC = "grpc"
	protoHTTP = "http"
)

// tracesPath is where an OTLP/HTTP receiver takes traces.
const tracesPath = "/v1/traces"

const (
	// exportTimeout bounds one delivery where nothing else is said.
	exportTimeout = 10 * time.Second
	// retryFor bounds how long one batch is offered again.
	retryFor = 5 * time.Second
)

// exporters are where the spans go, each with a queue of its own.
func (o Tracing) exporters(ctx context.Context) ([]sdktrace.SpanExporter, error) {
	var all []sdktrace.SpanExporter
	if o.Config.Stdout && o.Line != nil {
		all = append(all, lines{say: o.Line})
	}
	if address := o.Config.ZipkinEndpoint; address != "" {
		e, err := zipkin.New(address, zipkin.WithClient(&http.Client{Timeout: exportTimeout}))
		if err != nil {
			return nil, wrongEndpoint("tracing.zipkin.endpointAddress", address, err)
		}
		all = append(all, o.watch(e, "Zipkin at "+address))
	}
	if c := o.Config.OTel; c.Endpoint != "" {
		e, err := o.otlp(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, o.watch(e, "the OTLP collector at "+c.Endpoint))
	}
	return all, nil
}

func wrongEndpoint(where, address string, err error) error {
	return &apperr.Error{
		Reason: apperr.OwnConfig, What: fmt.Sprintf("%s: %q cannot be used: %v", where, address, err), Err: err,
	}
}

// otlp makes the exporter for OTLP. An address that begins with http:// is
// meant in clear, whatever else is said.
func (o Tracing) otlp(ctx context.Context) (sdktrace.SpanExporter, error) {
	c := o.Config.OTel
	host, path := splitEndpoint(c.Endpoint)
	insecure := !c.Secure || strings.HasPrefix(c.Endpoint, "http://")
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = exportTimeout
	}
	var e sdktrace.SpanExporter
	var err error
	switch c.Protocol {
	case protoHTTP:
		if path == "" {
			path = tracesPath
		}
		options := []otlptracehttp.Option{
			otlptracehttp.WithEndpoint(host), otlptracehttp.WithURLPath(path), otlptracehttp.WithHeaders(c.Headers),
			otlptracehttp.WithTimeout(timeout),
			otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
				Enabled: true, InitialInterval: retryFor / 10, MaxInterval: retryFor / 2, MaxElapsedTime: retryFor,
			}),
		}
		if insecure {
			options = append(options, otlptracehttp.WithInsecure())
		}
		e, err = otlptracehttp.New(ctx, options...)
	case protoGRPC, "":
		options := []otlptracegrpc.Option{
			otlptracegrpc.WithEndpoint(host), otlptracegrpc.WithHeaders(c.Headers), otlptracegrpc.WithTimeout(timeout),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{
				Enabled: true, InitialInterval: retryFor / 10, MaxInterval: retryFor / 2, MaxElapsedTime: retryFor,
			}),
		}
		if insecure {
			options = append(options, otlptracegrpc.WithInsecure())
		}
		e, err = otlptracegrpc.New(ctx, options...)
	default:
		return nil, &apperr.Error{
			Reason: apperr.OwnConfig,
			What:   fmt.Sprintf("invalid protocol %s provided for Otel endpoint", c.Protocol), Hint: "http or grpc",
		}
	}
	if err != nil {
		return nil, wrongEndpoint("tracing.otel.endpointAddress", c.Endpoint, err)
	}
	return e, nil
}

// splitEndpoint is the authority and the path of an address with or without a
// scheme; a path of one slash is none.
func splitEndpoint(endpoint string) (authority, path string) {
	rest := endpoint
	for _, scheme := range []string{"http://", "https://"} {
		rest = strings.TrimPrefix(rest, scheme)
	}
	authority, path, _ = strings.Cut(rest, "/")
	if path != "" {
		path = "/" + path
	}
	return authority, path
}

// watch tells when e cannot deliver, and nobody else: what the SDK is told goes
// to a log of its own.
func (o Tracing) watch(e sdktrace.SpanExporter, where string) sdktrace.SpanExporter {
	return &watchedExporter{SpanExporter: e, where: where, problem: o.Problem}
}

type watchedExporter struct {
	sdktrace.SpanExporter
	where   string
	problem func(what, cause string)
	down    atomic.Bool
}

func (w *watchedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := w.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		w.down.Store(false)
		return nil
	}
	if !w.down.Swap(true) && w.problem != nil {
		w.problem("traces cannot be sent to "+w.where+" and are dropped until they can", err.Error())
	}
	return nil
}

// lines is the exporter that says a line for each span, as Dapr's log does.
type lines struct{ say func(string) }

func (l lines) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	for _, s := range spans {
		var parent trace.SpanID
		if s.Parent().IsValid() {
			parent = s.Parent().SpanID()
		}
		l.say(fmt.Sprintf("[%s] Trace: %s Span: %s/%s Time: [%s ->  %s] Annotations: %+v",
			s.Name(), s.SpanContext().TraceID(), parent, s.SpanContext().SpanID(), s.StartTime(), s.EndTime(), s.Events()))
	}
	return nil
}

func (lines) Shutdown(context.Context) error { return nil }
