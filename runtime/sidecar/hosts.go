package sidecar

import (
	"strings"

	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/external"
)

// followEndpoints has the hosts outside the mesh be those that the HTTPEndpoint
// resources name from time to time.
func (s *sidecar) followEndpoints(hosts *external.Hosts) {
	s.resources.onChange(func(_, now *resources) {
		if err := hosts.Replace(now.HTTPEndpoints); err != nil {
			s.log.Warn("the HTTPEndpoints stay as they were", "err", err) // they were judged before
		}
	})
}

// endpointsOf are the HTTPEndpoints of a caller without a sidecar. Those that
// cannot be called are named, and so is what is wrong with resources: it is no
// reason not to make another call.
func endpointsOf(cfg config.Sidecar, home config.Home, getenv func(string) string, warn func(string)) []config.HTTPEndpoint {
	told, err := cfg.Resources(cfg.ResourcePaths(home), getenv)
	if err == nil {
		err = external.Check(told.HTTPEndpoints)
	}
	if err != nil {
		warn("the HTTPEndpoints of " + home.Resources() + " are not used: " + strings.ReplaceAll(err.Error(), "\n", "; "))
		return nil
	}
	for _, e := range told.HTTPEndpoints {
		if e.Unusable != "" {
			warn(e.At + ": the HTTPEndpoint " + e.Name + " cannot be called: " + e.Unusable)
		}
	}
	return told.HTTPEndpoints
}
