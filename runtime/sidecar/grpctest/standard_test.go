package grpctest_test

import (
	"slices"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
)

// A client such as grpcurl needs nothing but the app's id.
func TestReflection(t *testing.T) {
	everywhere(t, func(s *scene) {
		stream, err := reflectionpb.NewServerReflectionClient(s.conn).ServerReflectionInfo(s.ctx())
		if err != nil {
			s.t.Fatal(err)
		}
		ask := func(r *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
			s.t.Helper()
			if err := stream.Send(r); err != nil {
				s.t.Fatal(err)
			}
			answer, err := stream.Recv()
			if err != nil {
				s.t.Fatal(err)
			}
			return answer
		}
		answer := ask(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"},
		})
		var services []string
		for _, service := range answer.GetListServicesResponse().GetService() {
			services = append(services, service.GetName())
		}
		if !slices.Contains(services, "grpc.health.v1.Health") {
			s.t.Errorf("services = %q", services)
		}
		answer = ask(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "grpc.health.v1.Health"},
		})
		if len(answer.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
			s.t.Errorf("descriptor = %v", answer)
		}
		if err := stream.CloseSend(); err != nil {
			s.t.Fatal(err)
		}
		if _, err := stream.Recv(); err == nil {
			s.t.Error("the stream goes on")
		}
	})
}

func TestHealthIsTheApps(t *testing.T) {
	everywhere(t, func(s *scene) {
		service := "service of " + s.t.Name()
		s.app.health.SetServingStatus(service, healthpb.HealthCheckResponse_SERVING)
		client := healthpb.NewHealthClient(s.conn)
		answer, err := client.Check(s.ctx(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || answer.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			s.t.Fatalf("%v, %v", answer, err)
		}
		watch, err := client.Watch(s.ctx(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, want := range []healthpb.HealthCheckResponse_ServingStatus{
			healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING, healthpb.HealthCheckResponse_SERVING,
		} {
			s.app.health.SetServingStatus(service, want)
			if answer, err = watch.Recv(); err != nil || answer.GetStatus() != want {
				s.t.Fatalf("%v, %v; want %v", answer, err, want)
			}
		}
	})
}
