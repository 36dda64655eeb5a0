package sidecar

import (
	"github.com/pillion-dev/pillion/runtime/apilist"
	"github.com/pillion-dev/pillion/runtime/callback"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/grpcapi"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/state"
)

// newGRPC makes Dapr's own gRPC service. It says of the sidecar what the doors
// say, which are made around it.
func (s *sidecar) newGRPC(calls invoke.Handler, store *state.Block, lists config.APILists) *grpcapi.Server {
	return grpcapi.New(grpcapi.Config{
		Invoke: calls, Self: s.workload.ID(), State: store, Secrets: &s.secrets,
		Metadata:    func() grpcapi.Metadata { return grpcMetadata(s.doors.Metadata()) },
		SetMetadata: func(key, value string) error { return s.doors.SetMetadata(key, value) },
		Shutdown:    s.ask, SpeaksGRPC: s.speaksGRPC(), MaxMessage: s.maxMessage(),
		Offers: apilist.New(lists, apilist.GRPC), APILog: s.grpcLog(), Served: s.grpcServed(), Logger: s.log,
	})
}

// callback is the stage that calls an app that speaks gRPC by Dapr's interface.
func (s *sidecar) callback() invoke.Stage {
	return callback.Stage(callback.Options{Name: s.cfg.AppID, SpeaksGRPC: s.speaksGRPC(), MaxMessage: s.maxMessage()})
}

// grpcDoor is the service as the doors have it.
func grpcDoor(service *grpcapi.Server) httpapi.GRPC {
	return httpapi.GRPC{Handler: service, Methods: service.Methods(), Reflection: service.Reflection(), Invoke: grpcapi.InvokeService}
}

// speaksGRPC reports whether the app does.
func (s *sidecar) speaksGRPC() bool {
	return s.cfg.AppProtocol == "grpc" || s.cfg.AppProtocol == "grpcs"
}

// maxMessage is the size of a gRPC message that is held whole.
func (s *sidecar) maxMessage() int { return int(s.cfg.MaxBody) }

// grpcLog writes the API log's lines of Dapr's own service.
func (s *sidecar) grpcLog() func(grpcapi.APICall) {
	write := s.doorLog()
	if write == nil {
		return nil
	}
	return func(c grpcapi.APICall) {
		write(httpapi.APICall{
			GRPC: true, Method: c.Method, Code: int(c.Code), Duration: c.Took, UserAgent: c.UserAgent, Target: c.Target,
		})
	}
}

// grpcMetadata is what the HTTP door says, for the gRPC one.
func grpcMetadata(m httpapi.Metadata) grpcapi.Metadata {
	out := grpcapi.Metadata{
		ID: m.ID, RuntimeVersion: m.RuntimeVersion, EnabledFeatures: m.EnabledFeatures, Extended: m.Extended,
		App: grpcapi.AppConnection{
			Port: int32(m.App.Port), Protocol: m.App.Protocol, ChannelAddress: m.App.ChannelAddress,
			MaxConcurrency: int32(m.App.MaxConcurrency), //nolint:gosec // a number of calls
		},
	}
	if h := m.App.Health; h != nil {
		out.App.Health = &grpcapi.AppHealth{
			Path: h.Path, Interval: h.Interval, Timeout: h.Timeout, Threshold: int32(h.Threshold), //nolint:gosec // a handful
		}
	}
	for _, c := range m.Components {
		out.Components = append(out.Components, grpcapi.Component(c))
	}
	for _, e := range m.HTTPEndpoints {
		out.HTTPEndpoints = append(out.HTTPEndpoints, e.Name)
	}
	for _, r := range m.Resiliencies {
		out.Resiliencies = append(out.Resiliencies, r.Name)
	}
	return out
}
