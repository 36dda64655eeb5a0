package telemetrytest_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/telemetry"
)

func counting(t testing.TB, c config.Metrics) *telemetry.Metrics {
	t.Helper()
	m, err := telemetry.NewMetrics(telemetry.Counting{Config: c, AppID: "a", Namespace: "n"})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// read is what somebody who scrapes gets.
func read(t testing.TB, m *telemetry.Metrics) scrape {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	return parsed(t, w.Body.String())
}

func request(verb, path string, status int) telemetry.Request {
	return telemetry.Request{Verb: verb, Path: path, Status: status, Took: 7 * time.Millisecond}
}

func TestPathsAreLabelledAsTheConfigurationSays(t *testing.T) {
	t.Parallel()
	low := false
	for _, one := range []struct {
		name   string
		config config.Metrics
		labels map[string]string // of paths
	}{
		{name: "increased cardinality", labels: map[string]string{
			"/orders/1?x=y": "/orders/1", "/a%20b": "/a b", "/v1.0/state/shop/k": "/v1.0/state/shop", "http://h:1/x": "/x",
			"/v1.0/invoke/a/method/x": "/v1.0/invoke/a/method/x",
		}},
		{name: "low cardinality", config: config.Metrics{IncreasedCardinality: &low}, labels: map[string]string{
			"/orders/1": "", "/v1.0/state/shop/k": "",
		}},
		{name: "matched", config: config.Metrics{IncreasedCardinality: &low, PathMatching: []string{"/orders/{id}", "/files/"}}, labels: map[string]string{
			"/orders/1": "/orders/{id}", "//orders//1": "/orders/{id}", "/files/a/b": "/files/", "/other": "",
			"/v1.0/invoke/shop/method/orders/1": "/v1.0/invoke/{app_id}/method/orders/{id}",
		}},
		{name: "matched, the others are themselves", config: config.Metrics{PathMatching: []string{"orders/{id}"}}, labels: map[string]string{
			"/orders/1": "/orders/{id}", "/other/1": "/other/1", "/v1.0/state/shop/k": "/v1.0/state/shop",
		}},
		{name: "matched by the root", config: config.Metrics{IncreasedCardinality: &low, PathMatching: []string{"/"}}, labels: map[string]string{
			"/orders/1": "/",
		}},
	} {
		for path, label := range one.labels {
			m := counting(t, one.config)
			for range 2 { // found anew, and known
				m.HTTPServer(request("GET", path, 200))
			}
			s := read(t, m)
			if got := s.count("dapr_http_server_request_count", "app_id", "a", "method", "GET", "path", label, "status", "200"); got != 2 {
				t.Errorf("%s: %s is %v, want the label %q", one.name, path, s["dapr_http_server_request_count"], label)
			}
			if hasResponses := s["dapr_http_server_response_count"] != nil; hasResponses != (one.config.IncreasedCardinality == nil) {
				t.Errorf("%s: response_count is there: %v", one.name, hasResponses)
			}
		}
	}
	m := counting(t, config.Metrics{IncreasedCardinality: &low})
	m.HTTPClient(request("GET", "/dapr/config", 200))
	m.HTTPClient(request("GET", "/orders/1", 200))
	s := read(t, m)
	s.check(t, []want{
		{1, "dapr_http_client_completed_count", []string{"app_id", "a", "method", "GET", "path", "/dapr/config", "status", "200"}},
		{1, "dapr_http_client_completed_count", []string{"app_id", "a", "method", "GET", "path", "", "status", "200"}},
	})
}

func TestVerbsAreLabels(t *testing.T) {
	t.Parallel()
	m := counting(t, config.Metrics{})
	m.HTTPServer(request("PROPFIND", "/x", 200))
	read(t, m).check(t, []want{{1, "dapr_http_server_request_count", []string{"app_id", "a", "method", "UNKNOWN", "path", "/x", "status", "200"}}})
	m = counting(t, config.Metrics{ExcludeVerbs: true})
	m.HTTPServer(request("GET", "/x", 200))
	m.HTTPServer(request("POST", "/x", 200))
	read(t, m).check(t, []want{{2, "dapr_http_server_request_count", []string{"app_id", "a", "method", "", "path", "/x", "status", "200"}}})
}

func TestLatenciesHaveTheBucketsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		given []float64
		want  []float64
	}{
		"Dapr's": {want: []float64{
			1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650, 800,
			1000, 2000, 5000, 10000, 20000, 50000, 100000,
		}},
		"own": {given: []float64{5, 500}, want: []float64{5, 500}},
	} {
		m := counting(t, config.Metrics{LatencyBuckets: one.given})
		m.HTTPServer(request("GET", "/x", 200))
		h := read(t, m).of("dapr_http_server_latency", "app_id", "a", "method", "GET", "path", "/x", "status", "200").GetHistogram()
		var got []float64
		for _, b := range h.GetBucket() {
			got = append(got, b.GetUpperBound())
			if below := b.GetUpperBound() < 7; below != (b.GetCumulativeCount() == 0) {
				t.Errorf("%s: 7 ms are in the bucket %v", name, b)
			}
		}
		if got = got[:len(got)-1]; fmt.Sprint(got) != fmt.Sprint(one.want) { // the last one is for all
			t.Errorf("%s: the buckets are %v, want %v", name, got, one.want)
		}
		if h.GetSampleSum() != 7 {
			t.Errorf("%s: the sum is %v", name, h.GetSampleSum())
		}
	}
}

func TestRulesRewriteLabels(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dapr_http_server_request_count", "http/server/request_count"} {
		m := counting(t, config.Metrics{Rules: []config.MetricRule{
			{Name: name, Labels: []config.MetricLabel{{Name: "path", Regex: map[string]string{"/orders/ID": `/orders/\d+`, "/v0/$1": `/v1/(\w+)`}}}},
			{Name: "dapr_runtime_service_invocation_req_sent_total", Labels: []config.MetricLabel{{Name: "dst_app_id", Regex: map[string]string{"any": ".+"}}}},
		}})
		for i := range 5 {
			m.HTTPServer(request("GET", fmt.Sprint("/orders/", i), 200))
			m.CallSent(fmt.Sprint("app-", i), false)
		}
		m.HTTPServer(request("GET", "/v1/x", 200))
		s := read(t, m)
		s.check(t, []want{
			{5, "dapr_http_server_request_count", []string{"app_id", "a", "method", "GET", "path", "/orders/ID", "status", "200"}},
			{1, "dapr_http_server_request_count", []string{"app_id", "a", "method", "GET", "path", "/v0/x", "status", "200"}},
			{1, "dapr_http_server_latency", []string{"app_id", "a", "method", "GET", "path", "/orders/3", "status", "200"}},
			{5, "dapr_runtime_service_invocation_req_sent_total", []string{"app_id", "a", "dst_app_id", "any", "type", "unary"}},
		})
	}
}

func TestWhatCannotBeCountedByIsAnErrorAtTheStart(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]config.Metrics{
		"is not a regular expression": {Rules: []config.MetricRule{{Name: "x", Labels: []config.MetricLabel{{Name: "path", Regex: map[string]string{"a": "("}}}}}},
		"larger than the one before":  {LatencyBuckets: []float64{1, 5, 5}},
		"not a pattern":               {PathMatching: []string{"/orders/{id"}},
	} {
		_, err := telemetry.NewMetrics(telemetry.Counting{Config: c, AppID: "a"})
		if e, ok := errors.AsType[*apperr.Error](err); !ok || e.Reason != apperr.OwnConfig || !strings.Contains(e.What, what) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Whoever calls with ever new paths must not fill the memory.
func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	m := counting(t, config.Metrics{})
	const paths = 5000
	for i := range paths {
		m.HTTPServer(request("GET", fmt.Sprint("/", i), 200+i%2))
		m.CallSent(fmt.Sprint("http://host-", i), false)
	}
	s := read(t, m)
	for _, name := range []string{"dapr_http_server_request_count", "dapr_http_server_latency", "dapr_runtime_service_invocation_req_sent_total"} {
		if n := len(s[name].GetMetric()); n > 1002 || n < 1001 {
			t.Errorf("%s has %d series", name, n)
		}
	}
	total := 0.0
	for _, one := range s["dapr_http_server_request_count"].GetMetric() {
		total += one.GetCounter().GetValue()
	}
	if total != paths {
		t.Errorf("%v of %d requests are counted", total, paths)
	}
	if got := s.count("dapr_http_server_request_count", "app_id", "a", "method", "overflow", "path", "overflow", "status", "201"); got != (paths-1000)/2 {
		t.Errorf("%v are counted together", got)
	}
}

func TestWhatHappensSeldomIsCounted(t *testing.T) {
	t.Parallel()
	m := counting(t, config.Metrics{RecordErrorCodes: true})
	m.Access(telemetry.Decision{App: "b", TrustDomain: "td", Namespace: "ns", ByApp: true, Allowed: true})
	m.Access(telemetry.Decision{App: "b", TrustDomain: "td", Namespace: "ns", ByApp: true})
	m.Access(telemetry.Decision{App: "b", TrustDomain: "td", Namespace: "ns", Allowed: true})
	m.Access(telemetry.Decision{App: "b", TrustDomain: "td", Namespace: "ns"})
	m.CertificateMade("")
	m.CertificateMade("why")
	m.CertificateRenewed("")
	m.CertificateRenewed("why")
	m.ComponentLoaded("state.redis")
	m.ComponentFailed("state.redis", "store", "init")
	m.StateOperation("store", "get", true, time.Millisecond)
	m.SecretOperation("vault", "get", false, time.Millisecond)
	m.PoliciesLoaded("r")
	m.PolicyApplied(telemetry.Policy{Name: "r", Kind: "retry", Target: "app_b"})
	m.PolicyApplied(telemetry.Policy{Name: "r", Kind: "circuitbreaker", Target: "app_b", Status: "open"})
	m.PolicyActivated(telemetry.Policy{Name: "r", Kind: "retry", Target: "statestore_s", Inbound: true})
	m.HTTPProbe(200, time.Millisecond)
	m.GRPCProbe(14, time.Millisecond)
	m.GRPCServer(telemetry.RPC{Method: "/d/m", Code: 99, Sent: 3, Received: 4})
	for _, code := range []string{"ERR_STATE_GET", "ERR_DIRECT_INVOKE", "ERR_MALFORMED_REQUEST", "ERR_NEW", ""} {
		m.ErrorCode(code)
	}
	if err := m.Watch(telemetry.Reading{Name: "ours_total", Help: "x", Label: "l", Value: "v", Read: func() float64 { return 3 }}); err != nil {
		t.Fatal(err)
	}
	acl := []string{"app_id", "b", "trustDomain", "td", "namespace", "ns"}
	breaker := func(status string) []string {
		return []string{"app_id", "a", "name", "r", "policy", "circuitbreaker", "namespace", "n", "flow_direction", "outbound", "target", "app_b", "status", status}
	}
	read(t, m).check(t, []want{
		{1, "dapr_runtime_acl_app_policy_action_allowed_total", acl},
		{1, "dapr_runtime_acl_app_policy_action_blocked_total", acl},
		{1, "dapr_runtime_acl_global_policy_action_allowed_total", acl},
		{1, "dapr_runtime_acl_global_policy_action_blocked_total", acl},
		{1, "dapr_runtime_mtls_init_total", []string{"app_id", "a"}},
		{1, "dapr_runtime_mtls_init_fail_total", []string{"app_id", "a", "reason", "why"}},
		{1, "dapr_runtime_mtls_workload_cert_rotated_total", []string{"app_id", "a"}},
		{1, "dapr_runtime_mtls_workload_cert_rotated_fail_total", []string{"app_id", "a", "reason", "why"}},
		{1, "dapr_runtime_component_loaded", []string{"app_id", "a"}},
		{1, "dapr_runtime_component_init_total", []string{"app_id", "a", "component", "state.redis"}},
		{1, "dapr_runtime_component_init_fail_total", []string{"app_id", "a", "component", "state.redis", "reason", "init", "componentName", "store"}},
		{1, "dapr_component_state_count", []string{"app_id", "a", "component", "store", "namespace", "n", "operation", "get", "success", "true"}},
		{1, "dapr_component_state_latencies", []string{"app_id", "a", "component", "store", "namespace", "n", "operation", "get", "success", "true"}},
		{1, "dapr_component_secret_count", []string{"app_id", "a", "component", "vault", "namespace", "n", "operation", "get", "success", "false"}},
		{1, "dapr_resiliency_loaded", []string{"app_id", "a", "name", "r", "namespace", "n"}},
		{1, "dapr_resiliency_count", []string{"app_id", "a", "name", "r", "policy", "retry", "namespace", "n", "flow_direction", "outbound", "target", "app_b", "status", ""}},
		{1, "dapr_resiliency_activations_total", []string{"app_id", "a", "name", "r", "policy", "retry", "namespace", "n", "flow_direction", "inbound", "target", "statestore_s", "status", ""}},
		{1, "dapr_resiliency_cb_state", breaker("open")},
		{0, "dapr_resiliency_cb_state", breaker("closed")},
		{0, "dapr_resiliency_cb_state", breaker("half-open")},
		{0, "dapr_resiliency_cb_state", breaker("unknown")},
		{1, "dapr_http_healthprobes_completed_count", []string{"app_id", "a", "status", "200"}},
		{1, "dapr_grpc_io_healthprobes_completed_count", []string{"app_id", "a", "grpc_client_status", "Unavailable"}},
		{1, "dapr_grpc_io_server_completed_rpcs", []string{"app_id", "a", "grpc_server_method", "/d/m", "grpc_server_status", "Code(99)"}},
		{1, "dapr_grpc_io_server_received_bytes_per_rpc", []string{"app_id", "a", "grpc_server_method", "/d/m"}},
		{1, "dapr_error_code_total", []string{"app_id", "a", "error_code", "ERR_STATE_GET", "category", "state"}},
		{1, "dapr_error_code_total", []string{"app_id", "a", "error_code", "ERR_DIRECT_INVOKE", "category", "service-invocation"}},
		{1, "dapr_error_code_total", []string{"app_id", "a", "error_code", "ERR_MALFORMED_REQUEST", "category", "common"}},
		{1, "dapr_error_code_total", []string{"app_id", "a", "error_code", "ERR_NEW", "category", "common"}},
		{3, "pillion_ours_total", []string{"app_id", "a", "l", "v"}},
	})
	off := counting(t, config.Metrics{})
	off.ErrorCode("ERR_STATE_GET")
	if read(t, off)["dapr_error_code_total"] != nil {
		t.Error("error codes are counted unasked")
	}
	var none *telemetry.Metrics
	none.Access(telemetry.Decision{})
	none.PolicyApplied(telemetry.Policy{})
	none.StateOperation("", "", true, 0)
	none.ErrorCode("ERR_STATE_GET")
}

func TestCountingIsSafeForManyGoroutines(t *testing.T) {
	t.Parallel()
	m := counting(t, config.Metrics{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 3000 {
				m.HTTPServer(request("GET", fmt.Sprint("/", i), 200))
				m.CallReceived(fmt.Sprint("app-", i%7))
			}
		})
	}
	all.Wait()
	total := 0.0
	for _, one := range read(t, m)["dapr_http_server_request_count"].GetMetric() {
		total += one.GetCounter().GetValue()
	}
	if total != 8*3000 {
		t.Errorf("counted %v", total)
	}
}

func TestACountedCallCostsNoAllocation(t *testing.T) { //nolint:paralleltest // counts allocations
	m := counting(t, config.Metrics{})
	r := request("POST", "/v1.0/invoke/notes/method/x?q=1", 200)
	rpc := telemetry.RPC{Method: "/p.S/M", Sent: -1, Received: -1}
	count := func() {
		m.CallSent("notes", false)
		m.AnswerReceived("notes", 200, false, time.Millisecond)
		m.HTTPServer(r)
		m.CallReceived("todo")
		m.AnswerSent("todo", 200)
		m.HTTPClient(r)
		m.GRPCServer(rpc)
		m.GRPCClient(rpc)
	}
	if got := testing.AllocsPerRun(200, count); got != 0 {
		t.Errorf("it costs %v", got)
	}
}
