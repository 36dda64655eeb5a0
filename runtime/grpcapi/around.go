package grpcapi

import (
	"context"
	"net/http"
	"runtime/debug"
	"time"

	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/pillion-dev/pillion/runtime/rpc"
)

const service = "/dapr.proto.runtime.v1.Dapr/"

// InvokeService is the path of the method that calls apps.
const InvokeService = service + "InvokeService"

const shutdownMethod = service + "Shutdown"

// unary stands around each method that answers once.
func (s *Server) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (out any, err error) {
	if !s.offers(info.FullMethod) {
		return nil, notOffered()
	}
	began := time.Now()
	defer func() {
		err = s.recovered(recover(), err)
		s.note(ctx, info.FullMethod, targetOf(request), err, began)
		if s.cfg.Served != nil {
			s.cfg.Served(Served{
				Method: info.FullMethod, Code: uint32(status.Code(err)),
				Received: sizeOf(request), Sent: sizeOf(out), Took: time.Since(began), Reason: reasonOf(err),
			})
		}
	}()
	return next(ctx, request)
}

// stream stands around each method that streams.
func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	if !s.offers(info.FullMethod) {
		return notOffered()
	}
	began := time.Now()
	defer func() {
		err = s.recovered(recover(), err)
		s.note(stream.Context(), info.FullMethod, "", err, began)
		if s.cfg.Served != nil {
			s.cfg.Served(Served{
				Method: info.FullMethod, Code: uint32(status.Code(err)), Received: -1, Sent: -1, Took: time.Since(began), Reason: reasonOf(err),
			})
		}
	}()
	return next(srv, stream)
}

// recovered is err, or that a method panicked: the other calls go on.
func (s *Server) recovered(panicked any, err error) error {
	if panicked == nil {
		return err
	}
	s.log.Error("a method panicked", "panic", panicked, "stack", string(debug.Stack()))
	return status.Error(codes.Internal, "internal error")
}

// sizeOf is the size of a message, 0 for none.
func sizeOf(message any) int64 {
	if m, ok := message.(proto.Message); ok && m != nil {
		return int64(proto.Size(m))
	}
	return 0
}

// reasonOf is the reason in an error's details.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

func targetOf(request any) string {
	if in, ok := request.(*runtimev1.InvokeServiceRequest); ok {
		return in.GetId()
	}
	return ""
}

// note writes one line of the API log.
func (s *Server) note(ctx context.Context, name, target string, err error, began time.Time) {
	if s.cfg.APILog == nil {
		return
	}
	call := APICall{Method: name, Code: uint32(status.Code(err)), Took: time.Since(began), Target: target}
	md, _ := metadata.FromIncomingContext(ctx)
	if agent := md.Get("user-agent"); len(agent) > 0 {
		call.UserAgent = agent[0]
	}
	s.cfg.APILog(call)
}

// offers reports whether the Configuration's lists let clients use a method.
// What is no method of Dapr's is not for them to say.
func (s *Server) offers(name string) bool {
	if s.cfg.Offers.All() || !s.methods[name] {
		return true
	}
	return s.cfg.Offers.Offers(s.groups[name[len(service):]])
}

func notOffered() error {
	return httpStatus(codes.Code(rpc.Unimplemented), http.StatusNotImplemented, []byte("requested endpoint is not available"))
}
