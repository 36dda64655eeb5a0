package telemetrytest_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
)

// configuration is a file with Dapr's Configuration resource.
func configuration(t testing.TB, spec string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: appconfig\nspec:\n" + spec
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{file}
}

// configured is a pair whose sidecars have the same Configuration.
func configured(t testing.TB, spec string, environ ...string) *pair {
	t.Helper()
	m := newMachine(t)
	p := &pair{app: newApp(t, nil)}
	files := configuration(t, spec)
	p.callee = m.run(config.Sidecar{AppID: "notes", AppPort: p.app.port, ConfigFiles: files}, environ...)
	p.caller = m.run(config.Sidecar{AppID: "todo-api", ConfigFiles: files}, environ...)
	p.toApp = "http://" + p.caller.door + "/v1.0/invoke/notes/method/"
	return p
}

func TestTracesGoWhereTheConfigurationSays(t *testing.T) {
	t.Parallel()
	c, zipkin := newCollector(t), newCollector(t)
	p := configured(t, `  tracing:
    samplingRate: "1"
    stdout: true
    zipkin:
      endpointAddress: "http://`+zipkin.http+`/api/v2/spans"
    otel:
      endpointAddress: "`+c.grpc+`"
      isSecure: false
      protocol: grpc
      headers:
      - name: x-token
        value: let me in
`, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1") // the Configuration's goes first
	ask(t, "GET", p.toApp+"x", "")
	for name, got := range map[string]map[string]span{"otlp": c.await(t, 2), "zipkin": zipkin.await(t, 2)} {
		if first, second := got["todo-api"], got["notes"]; first.trace == "" || first.trace != second.trace || second.parent != first.id {
			t.Errorf("%s: %+v", name, got)
		}
	}
	c.mu.Lock()
	tokens := c.tokens
	c.mu.Unlock()
	if len(tokens) == 0 || tokens[0] != "let me in" {
		t.Errorf("the collector was told %q", tokens)
	}
	within.Until(t, "the span's line", func() bool {
		said := p.caller.notices("scope=dapr.runtime.trace")
		return len(said) > 0 && strings.Contains(said[0].Text, `msg="[CallLocal/notes/x] Trace: `)
	})
}

func TestTheRateZeroSwitchesTracingOff(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := configured(t, "  tracing:\n    samplingRate: \"0\"\n", c.otlp("grpc")...)
	answer, _ := ask(t, "GET", p.toApp+"x", "")
	if got := p.app.fields().Get("Traceparent") + answer.Header.Get("Traceparent"); got != "" {
		t.Errorf("there is a traceparent: %s", got)
	}
	ask(t, "GET", p.toApp+"x", "", "traceparent", given)
	if got := p.app.fields().Get("Traceparent"); got != given {
		t.Errorf("the app gets %s", got)
	}
	p.caller.end()
	p.callee.end()
	if got := c.spans(); len(got) != 0 {
		t.Errorf("recorded %v", got)
	}
}

// A rate alone names traces, for whoever logs the name; nobody is sent any.
func TestARateAloneNamesTraces(t *testing.T) {
	t.Parallel()
	p := configured(t, "  tracing:\n    samplingRate: \"0.000001\"\n")
	answer, _ := ask(t, "GET", p.toApp+"x", "")
	atApp, atCaller := p.app.fields().Get("Traceparent"), answer.Header.Get("Traceparent")
	if len(atApp) != 55 || !strings.HasSuffix(atApp, "-00") || atApp != atCaller {
		t.Errorf("the app gets %q, the answer says %q", atApp, atCaller)
	}
}

func TestTheConfigurationSwitchesMetricsOff(t *testing.T) {
	t.Parallel()
	m, port := newMachine(t), porttest.Reserve(t)
	m.run(config.Sidecar{
		AppID: "quiet", Metrics: true, MetricsPort: port.Number(), ConfigFiles: configuration(t, "  metric:\n    enabled: false\n"),
	})
	if c, err := net.Dial("tcp", port.Addr()); err == nil {
		_ = c.Close()
		t.Error("they are served")
	}
}

func TestTheConfigurationSaysHowToCount(t *testing.T) {
	t.Parallel()
	m, port := newMachine(t), metricsPort(t)
	s := m.run(config.Sidecar{
		AppID: "lean", Metrics: true, MetricsPort: port,
		ConfigFiles: configuration(t, `  metrics:
    enabled: true
    latencyDistributionBuckets: [10, 100]
    http:
      increasedCardinality: false
      excludeVerbs: true
      pathMatching:
      - /orders/{id}
`),
	})
	ask(t, "GET", "http://"+s.door+"/orders/7", "")
	order := []string{"app_id", "lean", "method", "", "path", "/orders/{id}", "status", "404"}
	got := counted(t, port, []want{{1, "dapr_http_server_request_count", order}, {1, "dapr_http_server_latency", order}})
	h := got.of("dapr_http_server_latency", order...).GetHistogram()
	if len(h.GetBucket()) != 3 {
		t.Errorf("the buckets are %v", h.GetBucket())
	}
}

func TestErrorsAreCountedByTheirCode(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"fast", "standard"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			m, port := newMachine(t), metricsPort(t)
			s := m.run(config.Sidecar{
				AppID: "clumsy", Engine: engine, Metrics: true, MetricsPort: port,
				ConfigFiles: configuration(t, "  metrics:\n    recordErrorCodes: true\n"),
			})
			ask(t, "GET", "http://"+s.door+"/v1.0/invoke/nobody/method/x", "")
			ask(t, "GET", "http://"+s.door+"/not/an/api", "")
			ask(t, "POST", "http://"+s.door+"/v1.0/publish/pubsub/topic", "{}")
			client := runtimev1.NewDaprClient(dialGRPC(t, s.grpc))
			if _, err := client.PublishEvent(within.Context(t), &runtimev1.PublishEventRequest{PubsubName: "p", Topic: "t"}); err == nil {
				t.Error("published")
			}
			within.Until(t, "the errors to be counted", func() bool {
				got := scraped(t, port)
				return got.count("dapr_error_code_total", "app_id", "clumsy", "error_code", "ERR_DIRECT_INVOKE", "category", "service-invocation") == 2 &&
					got.count("dapr_error_code_total", "app_id", "clumsy", "error_code", "ERR_PUBSUB_NOT_FOUND", "category", "pubsub") == 1 &&
					got.count("dapr_error_code_total", "app_id", "clumsy", "error_code", "DAPR_PUBSUB_NOT_FOUND", "category", "pubsub") == 1 &&
					got.count("dapr_grpc_io_server_completed_rpcs", "app_id", "clumsy", "grpc_server_method", "/dapr.proto.runtime.v1.Dapr/PublishEvent", "grpc_server_status", "InvalidArgument") == 1
			})
		})
	}
}

func TestStateIsCountedAndTraced(t *testing.T) {
	t.Parallel()
	m, port, c := newMachine(t), metricsPort(t), newCollector(t)
	s := m.run(config.Sidecar{AppID: "keeper", Metrics: true, MetricsPort: port}, c.otlp("grpc")...)
	store := "http://" + s.door + "/v1.0/state/statestore"
	if answer, text := ask(t, "POST", store, `[{"key":"secret-key","value":1}]`); answer.StatusCode != 204 {
		t.Fatalf("%s %s", answer.Status, text)
	}
	for range 2 {
		ask(t, "GET", store+"/secret-key", "")
	}
	operation := func(name string) []string {
		return []string{"app_id", "keeper", "component", "statestore", "namespace", "default", "operation", name, "success", "true"}
	}
	counted(t, port, []want{
		{1, "dapr_runtime_component_loaded", []string{"app_id", "keeper"}},
		{1, "dapr_runtime_component_init_total", []string{"app_id", "keeper", "component", "state.sqlite"}},
		{1, "dapr_component_state_count", operation("set")},
		{2, "dapr_component_state_count", operation("get")},
		{2, "dapr_component_state_latencies", operation("get")},
	})
	got := c.await(t, 3)["keeper"]
	if got.name != "/v1.0/state/statestore" {
		t.Errorf("the span is called %s", got.name)
	}
	wantAttributes(t, got, map[string]string{
		"db.system": "state", "db.name": "statestore", "db.statement": "GET /v1.0/state/statestore", "dapr.status_code": "200",
		"dapr.api": "GET /v1.0/state/statestore", "url.full": "/v1.0/state/statestore",
	})
}
