package apilist_test

import (
	"testing"

	"github.com/pillion-dev/pillion/runtime/apilist"
	"github.com/pillion-dev/pillion/runtime/config"
)

func TestOffers(t *testing.T) {
	t.Parallel()
	get := apilist.API{Name: "state", Version: "v1", Route: "v1.0/state/{store}/{key}"}
	query := apilist.API{Name: "state", Version: "v1alpha1", Route: "v1.0-alpha1/state/{store}/query"}
	invoke := apilist.API{Name: "invoke", Version: "v1", Route: "v1.0/invoke/*"}
	rule := func(name, version, protocol string) []config.APIRule {
		return []config.APIRule{{Name: name, Version: version, Protocol: protocol}}
	}
	for _, c := range []struct {
		about    string
		lists    config.APILists
		protocol string
		api      apilist.API
		want     bool
	}{
		{"no list", config.APILists{}, "http", get, true},
		{"allowed", config.APILists{Allowed: rule("state", "v1", "http")}, "http", get, true},
		{"allowed, protocol in capitals", config.APILists{Allowed: rule("state", "v1", "HTTP")}, "http", get, true},
		{"another is allowed", config.APILists{Allowed: rule("state", "v1", "http")}, "http", invoke, false},
		{"another version is allowed", config.APILists{Allowed: rule("state", "v1", "http")}, "http", query, false},
		{"the old form", config.APILists{Allowed: rule("state", "v1.0", "http")}, "http", get, true},
		{"the old form of a part of the API", config.APILists{Denied: rule("state/{store}/{key}", "v1.0", "http")}, "http", get, false},
		{"the old form of another version", config.APILists{Allowed: rule("state", "v1.0-alpha1", "http")}, "http", get, false},
		{"denied", config.APILists{Denied: rule("state", "v1", "http")}, "http", get, false},
		{"another is denied", config.APILists{Denied: rule("state", "v1", "http")}, "http", invoke, true},
		{"denied and allowed", config.APILists{Allowed: rule("state", "v1", "http"), Denied: rule("state", "v1", "http")}, "http", get, false},
		{"of the other protocol", config.APILists{Allowed: rule("state", "v1", "grpc"), Denied: rule("invoke", "v1", "grpc")}, "http", invoke, true},
		{"gRPC has no old form", config.APILists{Denied: rule("state", "v1.0", "grpc")}, "grpc", apilist.API{Name: "state", Version: "v1"}, true},
	} {
		list := apilist.New(c.lists, c.protocol)
		if got := list.Offers(c.api); got != c.want {
			t.Errorf("%s: %v, want %v", c.about, got, c.want)
		}
	}
	if !apilist.New(config.APILists{Denied: rule("state", "v1", "grpc")}, apilist.HTTP).All() {
		t.Error("a list without a rule for HTTP does not offer everything over HTTP")
	}
}
