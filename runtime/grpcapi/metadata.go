package grpcapi

import (
	"context"
	"slices"
	"strings"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/pillion-dev/pillion/internal/daprerr"
)

// fieldForce asks Shutdown to wait for nothing.
const fieldForce = "dapr-force-shutdown"

// Metadata is what GetMetadata says.
type Metadata struct {
	ID, RuntimeVersion string
	EnabledFeatures    []string
	Components         []Component
	HTTPEndpoints      []string
	Resiliencies       []string
	// Extended are the values that clients set, and Dapr's own.
	Extended map[string]string
	App      AppConnection
}

// A Component is one that is loaded.
type Component struct {
	Name, Type, Version string
	Capabilities        []string
}

// AppConnection is how the sidecar reaches its app.
type AppConnection struct {
	Port                     int32
	Protocol, ChannelAddress string
	MaxConcurrency           int32
	// Health is nil unless the app's health is checked.
	Health *AppHealth
}

// AppHealth is how the app's health is checked. Path is empty for an app that
// speaks gRPC.
type AppHealth struct {
	Path, Interval, Timeout string
	Threshold               int32
}

func (s *Server) getMetadata(context.Context, *runtimev1.GetMetadataRequest) (*runtimev1.GetMetadataResponse, error) {
	m := s.cfg.Metadata()
	out := &runtimev1.GetMetadataResponse{
		Id: m.ID, RuntimeVersion: m.RuntimeVersion, EnabledFeatures: m.EnabledFeatures, ExtendedMetadata: m.Extended,
		AppConnectionProperties: &runtimev1.AppConnectionProperties{
			Port: m.App.Port, Protocol: m.App.Protocol, ChannelAddress: m.App.ChannelAddress, MaxConcurrency: m.App.MaxConcurrency,
		},
		ActorRuntime: &runtimev1.ActorRuntime{
			RuntimeStatus: runtimev1.ActorRuntime_DISABLED, Placement: "placement: disconnected",
		},
		Workflows: &runtimev1.MetadataWorkflows{},
	}
	if h := m.App.Health; h != nil {
		out.AppConnectionProperties.Health = &runtimev1.AppConnectionHealthProperties{
			HealthCheckPath: h.Path, HealthProbeInterval: h.Interval, HealthProbeTimeout: h.Timeout, HealthThreshold: h.Threshold,
		}
	}
	for _, c := range m.Components {
		out.RegisteredComponents = append(out.RegisteredComponents, &runtimev1.RegisteredComponents{
			Name: c.Name, Type: c.Type, Version: c.Version, Capabilities: c.Capabilities,
		})
	}
	for _, name := range m.HTTPEndpoints {
		out.HttpEndpoints = append(out.HttpEndpoints, &runtimev1.MetadataHTTPEndpoint{Name: name})
	}
	for _, name := range m.Resiliencies {
		out.Resiliencies = append(out.Resiliencies, &runtimev1.MetadataResiliency{Name: name})
	}
	return out, nil
}

func (s *Server) setMetadata(_ context.Context, in *runtimev1.SetMetadataRequest) (*emptypb.Empty, error) {
	return nothing(s.cfg.SetMetadata(in.GetKey(), in.GetValue()))
}

func (s *Server) shutdown(ctx context.Context, _ *runtimev1.ShutdownRequest) (*emptypb.Empty, error) {
	if s.cfg.Shutdown == nil {
		return nil, failure(refusal(daprerr.GRPCUnimplemented, "this sidecar cannot be asked to stop"))
	}
	md, _ := metadata.FromIncomingContext(ctx)
	now := slices.ContainsFunc(md.Get(fieldForce), func(value string) bool { return strings.EqualFold(value, "true") })
	if after, ok := ctx.Value(afterKey{}).(*afterwards); ok {
		*after = func() { s.cfg.Shutdown(now) }
	}
	return &emptypb.Empty{}, nil
}
