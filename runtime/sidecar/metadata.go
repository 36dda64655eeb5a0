package sidecar

import (
	"cmp"

	"github.com/pillion-dev/pillion/runtime/httpapi"
)

// metadata is what both doors say about the sidecar.
func (s *sidecar) metadata() httpapi.Metadata {
	return httpapi.Metadata{
		ID:             s.cfg.AppID,
		RuntimeVersion: s.version(),
		App: httpapi.AppConnection{
			Port:           s.app.Port(),
			Protocol:       cmp.Or(s.cfg.AppProtocol, "http"),
			ChannelAddress: cmp.Or(s.cfg.AppChannelAddress, "127.0.0.1"),
			MaxConcurrency: s.cfg.AppMaxConcurrency,
		},
	}
}
