package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
)

const fullResiliency = `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: all
scopes: [orders]
spec:
  policies:
    timeouts:
      short: 1s
      bare: 250
    retries:
      often:
        policy: exponential
        duration: 2s
        maxInterval: 15s
        maxRetries: 0
        matching:
          httpStatusCodes: 429,500-599
          gRPCStatusCodes: 14
      nothing: {}
    circuitBreakers:
      simple:
        maxRequests: 2
        interval: 8s
        timeout: 45s
        trip: consecutiveFailures > 8
  targets:
    apps:
      payments:
        timeout: short
        retry: often
        circuitBreaker: simple
        circuitBreakerCacheSize: 10
    actors:
      Someone: {timeout: short}
    components:
      statestore:
        outbound:
          retry: often
`

func TestResilienciesAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	got, err := read(t, fullResiliency)
	if err != nil || len(got.Resiliencies) != 1 {
		t.Fatalf("%v, %v", got.Resiliencies, err)
	}
	r := got.Resiliencies[0]
	file, _ := strings.CutSuffix(r.At, ":1")
	zero := 0
	want := config.Resiliency{
		Name: "all", At: file + ":1",
		Policies: config.ResiliencyPolicies{
			Timeouts: map[string]config.Timeout{"short": {Value: "1s", At: file + ":9"}, "bare": {Value: "250", At: file + ":10"}},
			Retries: map[string]config.Retry{
				"often": {
					Policy: "exponential", Duration: "2s", MaxInterval: "15s", MaxRetries: &zero,
					HTTPStatusCodes: "429,500-599", GRPCStatusCodes: "14", At: file + ":12",
				},
				"nothing": {At: file + ":20"},
			},
			CircuitBreakers: map[string]config.CircuitBreaker{
				"simple": {MaxRequests: 2, Interval: "8s", Timeout: "45s", Trip: "consecutiveFailures > 8", At: file + ":22"},
			},
		},
		Targets: config.ResiliencyTargets{
			Apps: map[string]config.TargetPolicies{
				"payments": {Timeout: "short", Retry: "often", CircuitBreaker: "simple", CircuitBreakerCacheSize: 10, At: file + ":29"},
			},
			Components: map[string]config.ComponentPolicies{
				"statestore": {Inbound: config.TargetPolicies{At: file + ":37"}, Outbound: config.TargetPolicies{Retry: "often", At: file + ":37"}},
			},
		},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestMistakesInResilienciesAreNamedWithTheirLine(t *testing.T) {
	t.Parallel()
	head := "kind: Resiliency\nmetadata:\n  name: r\nspec:\n  policies:\n"
	for want, text := range map[string]string{
		"Resiliency r: three stands where a whole number is expected": head + "    retries:\n      a:\n        maxRetries: three\n",
		"Resiliency r: 1.5 stands where a whole number is expected":   head + "    retries:\n      a:\n        maxRetries: 1.5\n",
		"a.yaml:6: Resiliency r: a list stands where a mapping":       head + "    timeouts: [1]\n",
		"metadata.name is missing":                                    "kind: Resiliency\nspec: {}\n",
	} {
		_, err := read(t, text)
		if !apperr.Is(err, apperr.OwnConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
