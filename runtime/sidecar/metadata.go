package sidecar

import (
	"cmp"
	"maps"
	"os"
	"slices"
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
		Components:      s.loaded(told),
		HTTPEndpoints:   namesOf(told.HTTPEndpoints, func(e config.HTTPEndpoint) string { return e.Name }),
		Resiliencies:    namesOf(told.Resiliencies, func(r config.Resiliency) string { return r.Name }),
		Extended:        s.runner(),
		App: httpapi.AppConnection{
			Port:           s.app().Port(),
			Protocol:       cmp.Or(s.cfg.AppProtocol, "http"),
			ChannelAddress: cmp.Or(s.cfg.AppChannelAddress, "127.0.0.1"),
			MaxConcurrency: s.cfg.AppMaxConcurrency,
			Health:         s.appHealth(),
		},
	}
}

// loaded are the components that are in use, in the order of their names.
func (s *sidecar) loaded(told *resources) []httpapi.Component {
	stores := s.storesToTell()
	out := slices.Collect(maps.Values(stores))
	for _, c := range told.Components {
		if _, isStore := stores[c.Name]; c.Unusable == "" && !isStore {
			out = append(out, httpapi.Component{Name: c.Name, Type: c.Type, Version: c.Version})
		}
	}
	slices.SortFunc(out, func(a, b httpapi.Component) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// appHealth is how the app's health is asked for; nil if it is not.
func (s *sidecar) appHealth() *httpapi.AppHealth {
	if !s.cfg.AppHealth.Check {
		return nil
	}
	h := s.cfg.AppHealth.WithDefaults()
	out := &httpapi.AppHealth{Path: h.Path, Interval: h.Interval.String(), Timeout: h.Timeout.String(), Threshold: h.Threshold}
	if s.speaksGRPC() {
		out.Path = "" // gRPC's health service has none
	}
	return out
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
	if p := s.process(); p != nil {
		said["appPID"] = strconv.Itoa(p.PID())
	}
	maps.DeleteFunc(said, func(_, value string) bool { return value == "" })
	return said
}
