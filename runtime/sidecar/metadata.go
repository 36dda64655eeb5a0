package sidecar

import (
	"cmp"

	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/httpapi"
)

// metadata is what both doors say about the sidecar.
func (s *sidecar) metadata() httpapi.Metadata {
	told := s.resources.current()
	return httpapi.Metadata{
		ID:              s.cfg.AppID,
		RuntimeVersion:  s.version(),
		EnabledFeatures: told.features(),
		HTTPEndpoints:   namesOf(told.HTTPEndpoints, func(e config.HTTPEndpoint) string { return e.Name }),
		Resiliencies:    namesOf(told.Resiliencies, func(r config.Resiliency) string { return r.Name }),
		App: httpapi.AppConnection{
			Port:           s.app.Port(),
			Protocol:       cmp.Or(s.cfg.AppProtocol, "http"),
			ChannelAddress: cmp.Or(s.cfg.AppChannelAddress, "127.0.0.1"),
			MaxConcurrency: s.cfg.AppMaxConcurrency,
		},
	}
}

func namesOf[T any](all []T, name func(T) string) []httpapi.Named {
	var out []httpapi.Named
	for _, one := range all {
		out = append(out, httpapi.Named{Name: name(one)})
	}
	return out
}
