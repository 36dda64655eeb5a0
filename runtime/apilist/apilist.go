// Package apilist says which of Dapr's APIs a sidecar offers: the allow and the
// deny list of its Configuration. Both doors ask it; each knows its own APIs.
package apilist

import (
	"strings"

	"github.com/pillion-dev/pillion/runtime/config"
)

// The protocols a rule may be for.
const (
	HTTP = "http"
	GRPC = "grpc"
)

// An API is one of Dapr's, as rules name it.
type API struct {
	// Name and Version are those of the group, such as state and v1alpha1.
	Name, Version string
	// Route is an HTTP route with its version, such as
	// v1.0/state/{store}/{key}: an older form of rules names a beginning of it.
	// Over gRPC it is empty.
	Route string
}

// A List is what one protocol offers. The zero value offers everything.
type List struct {
	allowed, denied map[rule]bool
}

type rule struct{ version, name string }

// New is the list for a protocol. Rules for the other one do not count: a list
// that allows only gRPC's state API still offers everything over HTTP.
func New(lists config.APILists, protocol string) List {
	return List{allowed: rules(lists.Allowed, protocol), denied: rules(lists.Denied, protocol)}
}

func rules(given []config.APIRule, protocol string) map[rule]bool {
	set := make(map[rule]bool)
	for _, r := range given {
		// Dapr compares gRPC's name with its case; we do not, for both.
		if strings.EqualFold(r.Protocol, protocol) {
			set[rule{r.Version, r.Name}] = true
		}
	}
	return set
}

// All reports whether everything is offered.
func (l List) All() bool { return len(l.allowed) == 0 && len(l.denied) == 0 }

// Offers reports whether the API is offered: it is not denied, and it is
// allowed or nothing is.
func (l List) Offers(api API) bool {
	if matches(l.denied, api) {
		return false
	}
	return len(l.allowed) == 0 || matches(l.allowed, api)
}

func matches(set map[rule]bool, api API) bool {
	if len(set) == 0 {
		return false
	}
	if set[rule{api.Version, api.Name}] {
		return true
	}
	if api.Route == "" {
		return false
	}
	for r := range set {
		if strings.HasPrefix(api.Route, r.version+"/"+r.name) {
			return true
		}
	}
	return false
}
