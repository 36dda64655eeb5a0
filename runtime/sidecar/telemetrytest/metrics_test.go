package telemetrytest_test

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
)

// metricsPort is a port to serve metrics on, kept for the test.
func metricsPort(t *testing.T) uint16 {
	t.Helper()
	return porttest.Reserve(t).Number()
}

// A scrape is what a sidecar's metrics said at one time.
type scrape map[string]*dto.MetricFamily

func scraped(t *testing.T, port uint16) scrape {
	t.Helper()
	answer, text := ask(t, "GET", "http://127.0.0.1:"+strconv.Itoa(int(port))+"/any/path", "")
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s", answer.Status, text)
	}
	return parsed(t, text)
}

func parsed(t testing.TB, text string) scrape {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return families
}

// of is the metric of a family with these labels and no others, in pairs; nil
// if there is none.
func (s scrape) of(name string, pairs ...string) *dto.Metric {
	want := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		want[pairs[i]] = pairs[i+1]
	}
next:
	for _, m := range s[name].GetMetric() {
		if len(m.GetLabel()) != len(want) {
			continue
		}
		for _, l := range m.GetLabel() {
			if v, ok := want[l.GetName()]; !ok || v != l.GetValue() {
				continue next
			}
		}
		return m
	}
	return nil
}

// count is a counter's value, a gauge's, or how much a histogram has seen; -1 if
// there is no such series.
func (s scrape) count(name string, pairs ...string) float64 {
	m := s.of(name, pairs...)
	switch {
	case m == nil:
		return -1
	case m.Counter != nil:
		return m.GetCounter().GetValue()
	case m.Gauge != nil:
		return m.GetGauge().GetValue()
	default:
		return float64(m.GetHistogram().GetSampleCount())
	}
}

// A want is a series and its value.
type want struct {
	value float64
	name  string
	pairs []string
}

func (s scrape) check(t *testing.T, all []want) {
	t.Helper()
	for _, w := range all {
		if got := s.count(w.name, w.pairs...); got != w.value {
			t.Errorf("%s%v is %v, want %v; there are %v", w.name, w.pairs, got, w.value, s[w.name].GetMetric())
		}
	}
}

// counted waits until a sidecar's metrics say what they should: who has been
// answered may be counted a little later. It returns what they said last.
func counted(t *testing.T, port uint16, all []want) (s scrape) {
	t.Helper()
	missing := func(w want) bool { return s.count(w.name, w.pairs...) != w.value }
	for began := time.Now(); ; time.Sleep(2 * time.Millisecond) { // between looks at a condition
		s = scraped(t, port)
		if !slices.ContainsFunc(all, missing) || time.Since(began) > within.Patience {
			break
		}
	}
	s.check(t, all)
	return s
}

func TestCallsAreCountedByDaprsNames(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/lost" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, "hello")
	})
	calleePort, callerPort := metricsPort(t), metricsPort(t)
	m.run(config.Sidecar{AppID: "notes", AppPort: a.port, Metrics: true, MetricsPort: calleePort})
	caller := m.run(config.Sidecar{AppID: "todo-api", Metrics: true, MetricsPort: callerPort})
	door := "http://" + caller.door
	for range 3 {
		ask(t, "POST", door+"/v1.0/invoke/notes/method/orders?x=1", "12345")
	}
	ask(t, "GET", door+"/v1.0/invoke/notes/method/lost", "")
	ask(t, "GET", door+"/lost", "", "dapr-app-id", "notes")
	ask(t, "GET", door+"/v1.0/invoke/nobody/method/x", "")
	ask(t, "GET", door+"/v1.0/metadata", "")

	const invoked = "/v1.0/invoke/notes/method/orders"
	orders := []string{"app_id", "todo-api", "method", "POST", "path", invoked, "status", "200"}
	s := counted(t, callerPort, []want{
		{1, "dapr_http_server_request_count", []string{"app_id", "todo-api", "method", "GET", "path", "/v1.0/metadata", "status", "200"}},
		{5, "dapr_runtime_service_invocation_req_sent_total", []string{"app_id", "todo-api", "dst_app_id", "notes", "type", "unary"}},
		{1, "dapr_runtime_service_invocation_req_sent_total", []string{"app_id", "todo-api", "dst_app_id", "nobody", "type", "unary"}},
		{3, "dapr_runtime_service_invocation_res_recv_total", []string{"app_id", "todo-api", "src_app_id", "notes", "status", "200", "type", "unary"}},
		{2, "dapr_runtime_service_invocation_res_recv_total", []string{"app_id", "todo-api", "src_app_id", "notes", "status", "404", "type", "unary"}},
		{3, "dapr_runtime_service_invocation_res_recv_latency_ms", []string{"app_id", "todo-api", "src_app_id", "notes", "status", "200"}},
		{3, "dapr_http_server_request_count", orders},
		{3, "dapr_http_server_response_count", orders},
		{3, "dapr_http_server_latency", orders},
		{1, "dapr_http_server_request_count", []string{"app_id", "todo-api", "method", "GET", "path", "/lost", "status", "404"}},
		{1, "dapr_http_server_request_count", []string{"app_id", "todo-api", "method", "GET", "path", "/v1.0/invoke/nobody/method/x", "status", "500"}},
		{7, "dapr_http_server_request_bytes", []string{"app_id", "todo-api"}},
		{7, "dapr_http_server_response_bytes", []string{"app_id", "todo-api"}},
		{1, "dapr_runtime_mtls_init_total", []string{"app_id", "todo-api"}},
	})
	if got := s.of("dapr_http_server_request_bytes", "app_id", "todo-api").GetHistogram().GetSampleSum(); got != 15 {
		t.Errorf("the doors got %v bytes, want 15", got)
	}
	read := 0.0
	for _, one := range s["pillion_requests_total"].GetMetric() {
		read += one.GetCounter().GetValue()
	}
	if read != 7 {
		t.Errorf("the engines have read %v requests, want 7", read)
	}
	for _, name := range []string{"go_goroutines", "process_cpu_seconds_total"} {
		if s[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}

	toApp := []string{"app_id", "notes", "method", "POST", "path", "/orders", "status", "200"}
	s = counted(t, calleePort, []want{
		{5, "dapr_runtime_service_invocation_req_recv_total", []string{"app_id", "notes", "src_app_id", "todo-api"}},
		{3, "dapr_runtime_service_invocation_res_sent_total", []string{"app_id", "notes", "dst_app_id", "todo-api", "status", "200"}},
		{2, "dapr_runtime_service_invocation_res_sent_total", []string{"app_id", "notes", "dst_app_id", "todo-api", "status", "404"}},
		{3, "dapr_http_client_completed_count", toApp},
		{3, "dapr_http_client_roundtrip_latency", toApp},
		{3, "dapr_http_client_sent_bytes", []string{"app_id", "notes", "method", "POST", "path", "/orders", "status", ""}},
		{2, "dapr_http_client_completed_count", []string{"app_id", "notes", "method", "GET", "path", "/lost", "status", "404"}},
		{5, "dapr_http_client_received_bytes", []string{"app_id", "notes"}},
		{0, "pillion_calls_held", []string{"app_id", "notes"}},
		{0, "pillion_log_lines_lost_total", []string{"app_id", "notes"}},
	})
	for name, kind := range map[string]dto.MetricType{
		"dapr_runtime_service_invocation_req_recv_total": dto.MetricType_COUNTER,
		"dapr_http_client_completed_count":               dto.MetricType_COUNTER,
		"dapr_http_client_roundtrip_latency":             dto.MetricType_HISTOGRAM,
		"pillion_calls_in_flight":                        dto.MetricType_GAUGE,
	} {
		if got := s[name].GetType(); got != kind {
			t.Errorf("%s is a %v, want a %v", name, got, kind)
		}
	}
}

func TestGRPCCallsAreCountedByTheirStatus(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	app := newGRPCApp(t)
	calleePort, callerPort := metricsPort(t), metricsPort(t)
	m.run(config.Sidecar{AppID: "notes", AppPort: app.port, AppProtocol: "grpc", Metrics: true, MetricsPort: calleePort})
	caller := m.run(config.Sidecar{AppID: "todo-api", Metrics: true, MetricsPort: callerPort})
	client := health.NewHealthClient(dialGRPC(t, caller.grpc))
	ctx := metadata.AppendToOutgoingContext(within.Context(t), "dapr-app-id", "notes")
	for _, service := range []string{"", "", "lost"} {
		_, _ = client.Check(ctx, &health.HealthCheckRequest{Service: service}) // the metrics say how it went
	}
	stream, err := client.Watch(metadata.AppendToOutgoingContext(ctx, "dapr-stream", "true"), &health.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	const check, watch = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
	s := counted(t, callerPort, []want{
		{1, "dapr_grpc_io_server_completed_rpcs", []string{"app_id", "todo-api", "grpc_server_method", watch, "grpc_server_status", "OK"}},
		{2, "dapr_grpc_io_server_completed_rpcs", []string{"app_id", "todo-api", "grpc_server_method", check, "grpc_server_status", "OK"}},
		{1, "dapr_grpc_io_server_completed_rpcs", []string{"app_id", "todo-api", "grpc_server_method", check, "grpc_server_status", "NotFound"}},
		{2, "dapr_grpc_io_server_server_latency", []string{"app_id", "todo-api", "grpc_server_method", check, "grpc_server_status", "OK"}},
		{3, "dapr_runtime_service_invocation_req_sent_total", []string{"app_id", "todo-api", "dst_app_id", "notes", "type", "unary"}},
		{1, "dapr_runtime_service_invocation_req_sent_total", []string{"app_id", "todo-api", "dst_app_id", "notes", "type", "streaming"}},
		{2, "dapr_runtime_service_invocation_res_recv_total", []string{"app_id", "todo-api", "src_app_id", "notes", "status", "0", "type", "unary"}},
		{1, "dapr_runtime_service_invocation_res_recv_total", []string{"app_id", "todo-api", "src_app_id", "notes", "status", "5", "type", "unary"}},
		{1, "dapr_runtime_service_invocation_res_recv_total", []string{"app_id", "todo-api", "src_app_id", "notes", "status", "0", "type", "streaming"}},
	})
	if s["dapr_http_server_request_count"] != nil {
		t.Errorf("gRPC is counted as HTTP: %v", s["dapr_http_server_request_count"])
	}
	counted(t, calleePort, []want{
		{2, "dapr_grpc_io_client_completed_rpcs", []string{"app_id", "notes", "grpc_client_method", check, "grpc_client_status", "OK"}},
		{1, "dapr_grpc_io_client_completed_rpcs", []string{"app_id", "notes", "grpc_client_method", check, "grpc_client_status", "NotFound"}},
		{1, "dapr_grpc_io_client_roundtrip_latency", []string{"app_id", "notes", "grpc_client_method", watch, "grpc_client_status", "OK"}},
		{4, "dapr_runtime_service_invocation_req_recv_total", []string{"app_id", "notes", "src_app_id", "todo-api"}},
		{3, "dapr_runtime_service_invocation_res_sent_total", []string{"app_id", "notes", "dst_app_id", "todo-api", "status", "0"}},
	})
}

func TestMetricsAreServedOnlyWhereTheyWereAskedFor(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	port := porttest.Reserve(t)
	s := m.run(config.Sidecar{AppID: "silent", MetricsPort: port.Number()})
	if c, err := net.Dial("tcp", port.Addr()); err == nil {
		_ = c.Close()
		t.Error("they are served though they are off")
	}
	s.end()
	with := m.run(config.Sidecar{AppID: "loud", Metrics: true, MetricsPort: port.Number()})
	scraped(t, port.Number())
	if with.entry.MetricsPort != port.Number() || s.entry.MetricsPort != 0 {
		t.Errorf("their entries say %d and %d", with.entry.MetricsPort, s.entry.MetricsPort)
	}
	page, err := http.NewRequestWithContext(within.Context(t), "GET", "http://"+port.Addr(), nil)
	if err != nil {
		t.Fatal(err)
	}
	page.Host = "evil.example"
	answer, err := http.DefaultClient.Do(page)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("a page by a name of its own gets %s", answer.Status)
	}
	with.end()
	if c, err := net.Dial("tcp", port.Addr()); err == nil {
		_ = c.Close()
		t.Error("the port is open behind the end")
	}
}
