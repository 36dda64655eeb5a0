package telemetrytest_test

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/telemetry"
)

func TestSpansGoToAllExporters(t *testing.T) {
	t.Parallel()
	c, zipkin := newCollector(t), newCollector(t)
	var mu sync.Mutex
	var lines []string
	tracer, err := telemetry.NewTracer(t.Context(), telemetry.Tracing{
		AppID: "shop",
		Config: config.Tracing{
			SamplingRate: "1", Stdout: true, ZipkinEndpoint: "http://" + zipkin.http + "/api/v2/spans",
			OTel: config.OTel{Protocol: "http", Endpoint: c.http, Headers: map[string]string{"x-token": "t"}},
		},
		Line: func(line string) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, line)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{"Traceparent": {given}}
	place := tracer.Join(h, false)
	tracer.Begin(t.Context(), &place, telemetry.Server, "CallLocal/shop/buy", time.Now())
	place.Note(telemetry.Attribute{Key: "dapr.protocol", Value: "grpc"})
	place.Pass(h)
	place.End()
	if err := tracer.Close(within.Context(t)); err != nil {
		t.Fatal(err)
	}
	for where, got := range map[string][]span{"otlp": c.spans(), "zipkin": zipkin.spans()} {
		if len(got) != 1 {
			t.Fatalf("%s: %v", where, got)
		}
		s := got[0]
		if s.service != "shop" || s.trace != givenTrace || s.parent != givenSpan || s.attributes["dapr.protocol"] != "grpc" ||
			!strings.EqualFold(s.name, "CallLocal/shop/buy") {
			t.Errorf("%s: %+v", where, s)
		}
		if want := "00-" + givenTrace + "-" + s.id + "-01"; h.Get("Traceparent") != want {
			t.Errorf("%s: passed on is %s, want %s", where, h.Get("Traceparent"), want)
		}
	}
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "[CallLocal/shop/buy] Trace: "+givenTrace+" Span: "+givenSpan+"/") {
		t.Errorf("lines %q", lines)
	}
}

func TestTheRateDecidesHowManyTracesAreRecorded(t *testing.T) {
	t.Parallel()
	for text, rate := range map[string]float64{"1": 1, "0.25": 0.25, "": 1e-4, "nonsense": 1e-4} {
		tracer, err := telemetry.NewTracer(t.Context(), telemetry.Tracing{Config: config.Tracing{SamplingRate: text}})
		if err != nil {
			t.Fatal(err)
		}
		const n = 20_000
		sampled, ids := 0, map[string]bool{}
		for range n {
			h := http.Header{}
			span := tracer.Join(h, false)
			if span.Sampled() {
				sampled++
			}
			span.Pass(h)
			ids[h.Get("Traceparent")] = true
		}
		// Six times the spread of so many: once in a billion runs it is more.
		if spread := 6 * math.Sqrt(n*rate*(1-rate)); math.Abs(float64(sampled)-n*rate) > spread+1 {
			t.Errorf("at %q %d of %d are recorded", text, sampled, n)
		}
		if len(ids) != n {
			t.Errorf("%d of %d traces have a name of their own", len(ids), n)
		}
		for _, parent := range []string{given, unsampled} {
			if span := tracer.Join(http.Header{"Traceparent": {parent}}, false); span.Sampled() != (parent == given) {
				t.Errorf("at %q the parent %s does not decide", text, parent)
			}
		}
	}
}

func TestWhatSwitchesTracingOn(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		name    string
		config  config.Tracing
		environ map[string]string
		on      bool
	}{
		{name: "nothing"},
		{name: "a rate", config: config.Tracing{SamplingRate: "0.5"}, on: true},
		{name: "stdout", config: config.Tracing{Stdout: true}, on: true},
		{name: "Zipkin", config: config.Tracing{ZipkinEndpoint: "http://x"}, on: true},
		{name: "an endpoint with the rate 0", config: config.Tracing{ZipkinEndpoint: "http://x", SamplingRate: "0"}},
		{name: "the environment", environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317"}, on: true},
		{name: "the environment, but the rate is 0", config: config.Tracing{SamplingRate: "0"}, environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317"}},
	} {
		c, err := telemetry.WithEnvironment(one.config, func(name string) string { return one.environ[name] })
		if err != nil {
			t.Fatal(err)
		}
		if got := (telemetry.Tracing{Config: c}).On(); got != one.on {
			t.Errorf("%s: on is %v", one.name, got)
		}
	}
}

func TestTheEnvironmentNamesAnEndpoint(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		name    string
		config  config.Tracing
		environ map[string]string
		want    config.Tracing
	}{
		{
			name: "all of it",
			environ: map[string]string{
				"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4318/base/", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
				"OTEL_EXPORTER_OTLP_HEADERS": "a=b%2C, c=d", "OTEL_EXPORTER_OTLP_TIMEOUT": "1500", "OTEL_EXPORTER_OTLP_INSECURE": "true",
			},
			want: config.Tracing{SamplingRate: "1", OTel: config.OTel{
				Protocol: "http", Endpoint: "http://x:4318/base/v1/traces", Headers: map[string]string{"a": "b,", "c": "d"}, Timeout: 1500 * time.Millisecond,
			}},
		},
		{
			name:   "that of traces goes first, a rate stays",
			config: config.Tracing{SamplingRate: "0.5"},
			environ: map[string]string{
				"OTEL_EXPORTER_OTLP_ENDPOINT": "x:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://y:2/z",
				"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json",
			},
			want: config.Tracing{SamplingRate: "0.5", OTel: config.OTel{Protocol: "http", Endpoint: "https://y:2/z", Secure: true}},
		},
		{
			name:    "one in the Configuration stays",
			config:  config.Tracing{OTel: config.OTel{Protocol: "grpc", Endpoint: "z:3"}},
			environ: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "x:1"},
			want:    config.Tracing{OTel: config.OTel{Protocol: "grpc", Endpoint: "z:3"}},
		},
	} {
		got, err := telemetry.WithEnvironment(one.config, func(name string) string { return one.environ[name] })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(one.want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", one.name, diff)
		}
	}
}

func TestWhatCannotBeUsedIsAnErrorAtTheStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]config.Tracing{
		"protocol": {OTel: config.OTel{Protocol: "carrier pigeon", Endpoint: "x:1"}},
		"zipkin":   {ZipkinEndpoint: "not a url"},
	} {
		_, err := telemetry.NewTracer(t.Context(), telemetry.Tracing{Config: c})
		if e, ok := errors.AsType[*apperr.Error](err); !ok || e.Reason != apperr.OwnConfig {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, environ := range []map[string]string{
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "x:1", "OTEL_EXPORTER_OTLP_HEADERS": "secret"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "x:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "soon"},
	} {
		_, err := telemetry.WithEnvironment(config.Tracing{}, func(name string) string { return environ[name] })
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: %v", environ, err)
		}
	}
}
