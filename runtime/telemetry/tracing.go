package telemetry

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/buildinfo"
	"github.com/pillion-dev/pillion/runtime/config"
)

// Tracing says how to trace.
type Tracing struct {
	// Config is what the Configuration resource says; WithEnvironment adds what
	// the environment says.
	Config config.Tracing
	// AppID is the service's name, unless OTEL_SERVICE_NAME is another one.
	AppID string
	// Getenv reads the environment. Nil: there is none.
	Getenv func(string) string
	// Line gets a line for each span if the Configuration wants them. Nil: it
	// gets none.
	Line func(string)
	// Problem is told that spans cannot be delivered, once until they can be
	// again. Nil: nobody is.
	Problem func(what, cause string)
}

// defaultRate is how many of the traces that begin here are recorded if nothing
// is said about it, as Dapr's.
const defaultRate = 1e-4

// On reports whether there is anything to trace: a rate was given, or a place
// for the spans, and the rate is not "0".
func (o Tracing) On() bool {
	c := o.Config
	if rate(c.SamplingRate) == 0 {
		return false
	}
	return c.SamplingRate != "" || c.Stdout || c.ZipkinEndpoint != "" || c.OTel.Endpoint != ""
}

// rate is how many of the traces that begin here are recorded.
func rate(text string) float64 {
	r, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return defaultRate
	}
	return r
}

// WithEnvironment is c with what OpenTelemetry's variables say, if c names no
// OTLP endpoint itself. An endpoint without a rate means every trace.
func WithEnvironment(c config.Tracing, getenv func(string) string) (config.Tracing, error) {
	if c.OTel.Endpoint != "" {
		return c, nil
	}
	endpoint := getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if endpoint == "" {
		endpoint = ofAllSignals(getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
	}
	if endpoint == "" {
		return c, nil
	}
	first := func(name string) string {
		if value := getenv("OTEL_EXPORTER_OTLP_TRACES_" + name); value != "" {
			return value
		}
		return getenv("OTEL_EXPORTER_OTLP_" + name)
	}
	c.OTel = config.OTel{Endpoint: endpoint, Protocol: protoGRPC, Secure: first("INSECURE") != "true"}
	if strings.HasPrefix(first("PROTOCOL"), protoHTTP) {
		c.OTel.Protocol = protoHTTP
	}
	if c.SamplingRate == "" {
		c.SamplingRate = "1"
	}
	var err error
	if c.OTel.Headers, err = pairs(first("HEADERS")); err != nil {
		return c, wrongVariable("OTEL_EXPORTER_OTLP_HEADERS", err)
	}
	if text := first("TIMEOUT"); text != "" {
		ms, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return c, wrongVariable("OTEL_EXPORTER_OTLP_TIMEOUT", fmt.Errorf("%q is not a number of milliseconds", text))
		}
		c.OTel.Timeout = time.Duration(ms) * time.Millisecond
	}
	return c, nil
}

// ofAllSignals is where traces go for an endpoint that is a base for all.
func ofAllSignals(endpoint string) string {
	if _, path := splitEndpoint(endpoint); path != "" {
		return strings.TrimRight(endpoint, "/") + tracesPath
	}
	return endpoint
}

func wrongVariable(name string, err error) error {
	return &apperr.Error{Reason: apperr.OwnConfig, What: name + " in the environment: " + err.Error(), Err: err}
}

// pairs reads key=value,key=value with percent-encoded values.
func pairs(text string) (map[string]string, error) {
	var all map[string]string
	for pair := range strings.SplitSeq(text, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		plain, err := url.PathUnescape(strings.TrimSpace(value))
		if key = strings.TrimSpace(key); !found || key == "" || err != nil {
			return nil, fmt.Errorf("it is not key=value,key=value") // what it is may be a secret
		}
		if all == nil {
			all = map[string]string{}
		}
		all[key] = plain
	}
	return all, nil
}

// NewTracer makes a Tracer, whose exporters connect when there is something to
// send. Call it only if On. Close it.
func NewTracer(ctx context.Context, o Tracing) (*Tracer, error) {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithSampler(sdktrace.AlwaysSample()), // Join decides
		sdktrace.WithResource(o.resource()),
	}
	exporters, err := o.exporters(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range exporters {
		options = append(options, sdktrace.WithBatcher(e, o.batching()...))
	}
	provider := sdktrace.NewTracerProvider(options...)
	return &Tracer{
		provider: provider, rate: rate(o.Config.SamplingRate),
		tracer: provider.Tracer("github.com/pillion-dev/pillion", trace.WithInstrumentationVersion(buildinfo.Version())),
	}, nil
}

// batchDelay is how long a span may wait for others.
const batchDelay = time.Second

// batching bounds the spans that wait for one exporter. The SDK reads the
// variables OTEL_BSP_* itself.
func (o Tracing) batching() []sdktrace.BatchSpanProcessorOption {
	if o.Getenv("OTEL_BSP_SCHEDULE_DELAY") != "" {
		return nil
	}
	return []sdktrace.BatchSpanProcessorOption{sdktrace.WithBatchTimeout(batchDelay)}
}

const serviceName = "service.name"

// resource says whose spans they are.
func (o Tracing) resource() *resource.Resource {
	said, err := pairs(o.Getenv("OTEL_RESOURCE_ATTRIBUTES"))
	if err != nil {
		said = nil // the SDK ignores what it cannot read, too
	}
	name := o.AppID
	if given := said[serviceName]; given != "" {
		name = given
	}
	if given := o.Getenv("OTEL_SERVICE_NAME"); given != "" {
		name = given
	}
	delete(said, serviceName)
	all := []attribute.KeyValue{
		attribute.String(serviceName, name),
		attribute.String("telemetry.sdk.name", "opentelemetry"), attribute.String("telemetry.sdk.language", "go"),
	}
	for key, value := range said {
		all = append(all, attribute.String(key, value))
	}
	return resource.NewSchemaless(all...)
}
