package sidecar

import (
	"github.com/pillion-dev/pillion/runtime/external"
)

// hostsOf are the hosts outside the mesh: those of http:// and https:// targets,
// and those that HTTPEndpoint resources name.
func hostsOf(o networkOptions) (*external.Hosts, error) {
	told, err := o.cfg.Resources(o.cfg.ResourcePaths(o.place.home), o.getenv)
	if err != nil {
		return nil, err
	}
	endpoints := told.HTTPEndpoints
	for _, e := range endpoints {
		if e.Unusable != "" {
			o.warn(e.At + ": the HTTPEndpoint " + e.Name + " cannot be called: " + e.Unusable)
		}
	}
	return external.New(external.Options{Endpoints: endpoints})
}
