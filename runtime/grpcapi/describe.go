package grpcapi

import (
	"context"
	"maps"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

type invokeResponse = commonv1.InvokeResponse

// A method answers one request.
type method func(ctx context.Context, request proto.Message) (proto.Message, error)

// on makes a method of one that is typed.
func on[In, Out proto.Message](f func(context.Context, In) (Out, error)) method {
	return func(ctx context.Context, request proto.Message) (proto.Message, error) {
		in, ok := request.(In)
		if !ok {
			return nil, errMessage
		}
		out, err := f(ctx, in)
		if err != nil {
			return nil, err
		}
		return out, nil
	}
}

// served are the methods that do something.
func (s *Server) served() map[string]method {
	return map[string]method{
		"InvokeService":           on(s.InvokeService),
		"GetState":                on(s.getState),
		"GetBulkState":            on(s.getBulkState),
		"SaveState":               on(s.saveState),
		"DeleteState":             on(s.deleteState),
		"DeleteBulkState":         on(s.deleteBulkState),
		"ExecuteStateTransaction": on(s.transactState),
		"QueryStateAlpha1":        on(s.queryState),
		"GetSecret":               on(s.getSecret),
		"GetBulkSecret":           on(s.getBulkSecret),
		"GetMetadata":             on(s.getMetadata),
		"SetMetadata":             on(s.setMetadata),
		"Shutdown":                on(s.shutdown),
	}
}

// describe is Dapr's service with our methods. One that Dapr's package has and
// nobody here knows is not there, as any unknown method.
func (s *Server) describe() *grpc.ServiceDesc {
	theirs := &runtimev1.Dapr_ServiceDesc
	ours := &grpc.ServiceDesc{
		ServiceName: theirs.ServiceName, HandlerType: (*dapr)(nil), Metadata: theirs.Metadata,
	}
	all := s.absent()
	maps.Copy(all, s.served())
	requests := requestTypes(theirs.ServiceName)
	for _, d := range theirs.Methods {
		if m, request := all[d.MethodName], requests[d.MethodName]; m != nil && request != nil {
			ours.Methods = append(ours.Methods, grpc.MethodDesc{
				MethodName: d.MethodName, Handler: unaryHandler("/"+theirs.ServiceName+"/"+d.MethodName, request, m),
			})
		}
	}
	for _, d := range theirs.Streams {
		if m, request := all[d.StreamName], requests[d.StreamName]; m != nil && request != nil {
			d.Handler = streamHandler(d.StreamName, request, m)
			ours.Streams = append(ours.Streams, d)
		}
	}
	return ours
}

// requestTypes are the types of a service's requests, by the methods' names.
func requestTypes(service string) map[string]protoreflect.MessageType {
	types := make(map[string]protoreflect.MessageType)
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return types // it is linked in
	}
	d, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return types
	}
	for i := range d.Methods().Len() {
		m := d.Methods().Get(i)
		if t, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName()); err == nil {
			types[string(m.Name())] = t
		}
	}
	return types
}

// unaryHandler is m as grpc-go wants it.
func unaryHandler(name string, request protoreflect.MessageType, m method) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, around grpc.UnaryServerInterceptor) (any, error) {
		in := request.New().Interface()
		if err := decode(in); err != nil {
			return nil, err
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: name}
		return around(ctx, in, info, func(ctx context.Context, in any) (any, error) {
			message, ok := in.(proto.Message)
			if !ok {
				return nil, errMessage
			}
			return m(ctx, message)
		})
	}
}

// streamHandler answers the first message of a stream: no stream here comes
// further.
func streamHandler(name string, request protoreflect.MessageType, m method) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error {
		in := request.New().Interface()
		if err := stream.RecvMsg(in); err != nil {
			return noFirst(name, err)
		}
		_, err := m(stream.Context(), in)
		return err
	}
}
