package sidecar

import (
	"slices"
	"testing"

	"github.com/pillion-dev/pillion/runtime/config"
)

// That something stands in another line is no change; that it says something
// else is.
func TestAChangeIsWhatIsSaidOtherwise(t *testing.T) {
	t.Parallel()
	told := func(at, value string) *resources {
		return &resources{
			Resources: config.Resources{
				Components:    []config.Component{{Name: "c", Metadata: map[string]string{"a": value}, At: at}},
				HTTPEndpoints: []config.HTTPEndpoint{{Name: "e", BaseURL: value, At: at}},
				Resiliencies: []config.Resiliency{{
					Name: "r", At: at,
					Policies: config.ResiliencyPolicies{
						Timeouts:        map[string]config.Timeout{"t": {Value: value, At: at}},
						Retries:         map[string]config.Retry{"t": {Policy: value, At: at}},
						CircuitBreakers: map[string]config.CircuitBreaker{"t": {Trip: value, At: at}},
					},
					Targets: config.ResiliencyTargets{
						Apps:       map[string]config.TargetPolicies{"a": {Retry: value, At: at}},
						Components: map[string]config.ComponentPolicies{"c": {Outbound: config.TargetPolicies{At: at}}},
					},
				}},
			},
			Configuration: config.Configuration{
				HTTPPipeline: []config.Handler{{Name: value, At: at}},
				AccessControl: config.AccessControl{Policies: []config.AccessPolicy{{
					AppID: value, At: at, Operations: []config.AccessOperation{{Name: value, At: at}},
				}}},
			},
		}
	}
	old := told("a.yaml:1", "x")
	if got := changesOf(old, told("a.yaml:9", "x")); len(got) > 0 {
		t.Errorf("of another line: %q", got)
	}
	want := []string{
		"component c changed", "HTTPEndpoint e changed", "resiliency r changed", "access control changed",
		"the rest of the configuration changed, and counts from the next start",
	}
	if got := changesOf(old, told("a.yaml:1", "y")); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	want = []string{"component c removed", "HTTPEndpoint e removed", "resiliency r removed"}
	if got := changesOf(old, &resources{Configuration: old.Configuration}); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	want = []string{"component c added", "HTTPEndpoint e added", "resiliency r added"}
	if got := changesOf(&resources{Configuration: old.Configuration}, old); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if old.Resiliencies[0].Policies.Timeouts["t"].At != "a.yaml:1" || old.Configuration.AccessControl.Policies[0].Operations[0].At != "a.yaml:1" {
		t.Error("comparing took the places away")
	}
}
