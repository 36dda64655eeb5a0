package sidecar

import (
	"cmp"
	"maps"
	"os"
	"strconv"
	"strings"

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
		Extended:        s.runner(),
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

// runner is what `dapr run` puts into its sidecars' metadata, and `dapr list`
// and others read there: who runs the app, and from which file.
func (s *sidecar) runner() map[string]string {
	if !s.cfg.Profile.LoopbackDoors {
		return nil // whoever started us does it
	}
	said := map[string]string{
		"cliPID":          strconv.Itoa(os.Getpid()),
		"appCommand":      strings.Join(s.cfg.Command, " "),
		"runTemplatePath": s.cfg.RunFile,
		"runTemplateName": s.cfg.RunName,
		"appLogPath":      s.cfg.AppLogFile,
		"daprdLogPath":    s.cfg.SidecarLogFile,
	}
	if s.process != nil {
		said["appPID"] = strconv.Itoa(s.process.PID())
	}
	maps.DeleteFunc(said, func(_, value string) bool { return value == "" })
	return said
}
