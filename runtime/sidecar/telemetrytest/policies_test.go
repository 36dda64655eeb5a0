package telemetrytest_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/config"
)

const resiliency = `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: mine}
spec:
  policies:
    timeouts:
      long: 1m
      quick: 100ms
    retries:
      once: {policy: constant, duration: 1ms, maxRetries: 1}
    circuitBreakers:
      fuse: {trip: consecutiveFailures >= 3}
  targets:
    apps:
      notes: {timeout: long, retry: once, circuitBreaker: fuse}
      stuck: {timeout: quick}
    components:
      statestore:
        outbound: {timeout: long, retry: once}
      down:
        outbound: {retry: once}
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: down}
spec:
  type: state.redis
  version: v1
  metadata:
  - {name: redisHost, value: "ADDRESS"}
`

// What policies did is counted by Dapr's names, for apps and for state stores.
func TestPoliciesAreCounted(t *testing.T) {
	t.Parallel()
	m, port := newMachine(t), metricsPort(t)
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	m.run(config.Sidecar{AppID: "notes", AppPort: a.port})
	m.run(config.Sidecar{AppID: "stuck", AppPort: newApp(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }).port})
	file := filepath.Join(t.TempDir(), "resiliency.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(resiliency, "ADDRESS", nobody(t), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	caller := m.run(config.Sidecar{AppID: "todo-api", Metrics: true, MetricsPort: port, ResourcesPaths: []string{file}})
	for range 3 { // two attempts; one that opens the breaker; none
		if answer, text := ask(t, "GET", "http://"+caller.door+"/v1.0/invoke/notes/method/x", ""); answer.StatusCode < 500 {
			t.Fatalf("%s %s", answer.Status, text)
		}
	}
	if answer, text := ask(t, "GET", "http://"+caller.door+"/v1.0/invoke/stuck/method/x", ""); answer.Header.Get("Pillion-Error") != "DEADLINE_EXCEEDED" {
		t.Fatalf("%s %s", answer.Status, text)
	}
	if answer, text := ask(t, "POST", "http://"+caller.door+"/v1.0/state/statestore", `[{"key":"k","value":1}]`); answer.StatusCode != 204 {
		t.Fatalf("%s %s", answer.Status, text)
	}
	if answer, text := ask(t, "GET", "http://"+caller.door+"/v1.0/state/down/k", ""); answer.StatusCode != 500 {
		t.Fatalf("%s %s", answer.Status, text)
	}
	of := func(policy, target, status string) []string {
		return []string{
			"app_id", "todo-api", "name", "mine", "policy", policy, "namespace", "default", "flow_direction", "outbound",
			"target", target, "status", status,
		}
	}
	const store = "state.sqlite_statestore"
	counted(t, port, []want{
		{1, "dapr_resiliency_loaded", []string{"app_id", "todo-api", "name", "mine", "namespace", "default"}},
		{3, "dapr_resiliency_count", of("retry", "app_notes", "")},
		{3, "dapr_resiliency_count", of("timeout", "app_notes", "")},
		{2, "dapr_resiliency_count", of("circuitbreaker", "app_notes", "closed")},
		{1, "dapr_resiliency_count", of("circuitbreaker", "app_notes", "open")},
		{2, "dapr_resiliency_activations_total", of("retry", "app_notes", "")},
		{1, "dapr_resiliency_activations_total", of("circuitbreaker", "app_notes", "open")},
		{-1, "dapr_resiliency_activations_total", of("timeout", "app_notes", "")},
		{1, "dapr_resiliency_count", of("timeout", "app_stuck", "")},
		{1, "dapr_resiliency_activations_total", of("timeout", "app_stuck", "")},
		{1, "dapr_resiliency_cb_state", of("circuitbreaker", "app_notes", "open")},
		{0, "dapr_resiliency_cb_state", of("circuitbreaker", "app_notes", "closed")},
		{1, "dapr_resiliency_count", of("retry", store, "")},
		{1, "dapr_resiliency_count", of("timeout", store, "")},
		{-1, "dapr_resiliency_activations_total", of("retry", store, "")},
		{1, "dapr_resiliency_activations_total", of("retry", "state.redis_down", "")},
	})
}

// What is repeated without a policy is counted, and so are the instances that
// are left out.
func TestRepeatsAndEjectionsAreCounted(t *testing.T) {
	t.Parallel()
	m, port := newMachine(t), metricsPort(t)
	m.run(config.Sidecar{AppID: "notes", AppPort: newApp(t, nil).port})
	m.run(config.Sidecar{AppID: "notes", AppPort: newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.Close() // that is how it fails
	}).port})
	caller := m.run(config.Sidecar{AppID: "todo-api", Metrics: true, MetricsPort: port})
	app := []string{"app_id", "todo-api"}
	counted(t, port, []want{
		{0, "pillion_repeats_total", app},
		{0, "pillion_repeats_refused_total", app},
		{0, "pillion_ejections_total", app},
		{0, "pillion_instances_ejected", app},
	})
	repeated := 0
	for range 60 {
		answer, text := ask(t, "GET", "http://"+caller.door+"/v1.0/invoke/notes/method/x", "")
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", answer.Status, text)
		}
		if answer.Header.Get("Pillion-Attempts") == "2" {
			repeated++
		}
	}
	const inRow = 5 // failures have an instance left out, and one more each time that it is tried
	if repeated < inRow {
		t.Errorf("%d calls were repeated, want %d at least", repeated, inRow)
	}
	counted(t, port, []want{
		{float64(repeated), "pillion_repeats_total", app},
		{0, "pillion_repeats_refused_total", app},
		{float64(1 + repeated - inRow), "pillion_ejections_total", app},
		{1, "pillion_instances_ejected", app},
	})
}

// nobody is the address of a server that hangs up on everybody.
func nobody(t *testing.T) string {
	t.Helper()
	ln, _ := listen(t)
	ended := make(chan struct{})
	t.Cleanup(func() {
		_ = ln.Close() // it ends with the test
		<-ended
	})
	go func() {
		defer close(ended)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = conn.Close() // that is what it does
		}
	}()
	return ln.Addr().String()
}
