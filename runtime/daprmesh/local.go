package daprmesh

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalsv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// local is Dapr's service: calls to the app of this sidecar. Actors are not
// here.
type local struct {
	internalsv1.UnimplementedServiceInvocationServer
	s *Server
}

// CallLocal calls with the whole body in the message, and answers so.
func (l local) CallLocal(ctx context.Context, in *internalsv1.InternalInvokeRequest) (*internalsv1.InternalInvokeResponse, error) {
	if in.GetMessage() == nil {
		return nil, status.Error(codes.InvalidArgument, "parsing InternalInvokeRequest error: field Message is nil")
	}
	c, err := l.s.call(ctx, in)
	if err != nil {
		return nil, err
	}
	if data := in.GetMessage().GetData().GetValue(); len(data) > 0 {
		c.Body, c.Length = invoke.BytesBody(data), int64(len(data))
	} else {
		c.Length = 0
	}
	answer, err := l.s.cfg.Handler.Serve(ctx, c)
	if err != nil {
		return nil, failure(err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read to its end, or is of no use
	if l.s.cfg.SpeaksGRPC {
		return l.s.fromGRPC(answer)
	}
	data, err := rpc.ReadAll(answer.Body, l.s.cfg.MaxMessage)
	if err != nil {
		return nil, failure(err)
	}
	out := response(answer, -1)
	out.Message.Data.Value = data
	return out, nil
}

// CallLocalStream calls with the body in the messages behind the first, and
// answers so, both at once.
func (l local) CallLocalStream(stream internalsv1.ServiceInvocation_CallLocalStreamServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	in := first.GetRequest()
	if in.GetMessage() == nil {
		return status.Error(codes.InvalidArgument,
			"parsing InternalInvokeRequest error: request does not contain the required fields in the leading chunk")
	}
	c, err := l.s.call(stream.Context(), in)
	if err != nil {
		return err
	}
	body := bodyOf(stream)
	if err := body.take(first.GetPayload()); err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	if c.Body = body; c.Length == 0 || body.isEmpty(c) {
		c.Body, c.Length = nil, 0
	}
	answer, err := l.s.cfg.Handler.Serve(stream.Context(), c)
	if err != nil {
		if bad := body.fault.Load(); bad != nil {
			return status.Error(codes.Internal, (*bad).Error())
		}
		return failure(err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read to its end, or is of no use
	if l.s.cfg.SpeaksGRPC {
		out, err := l.s.fromGRPC(answer)
		if err != nil {
			return err
		}
		data := out.GetMessage().GetData().GetValue()
		out.Message.Data.Value = nil
		return sendAnswer(stream, out, invoke.BytesBody(data))
	}
	return sendAnswer(stream, response(answer, -1), answer.Body)
}

// bodyOf is the body behind the first message.
func bodyOf(stream internalsv1.ServiceInvocation_CallLocalStreamServer) *receiver {
	r := &receiver{close: func() error { return nil }} // the stream ends with the exchange
	r.next = func() (*commonv1.StreamPayload, error) {
		m, err := stream.Recv()
		if err == nil && m.GetRequest() != nil {
			r.fault.Store(&errLate)
			return nil, errLate
		}
		return m.GetPayload(), err
	}
	return r
}

// errLate is Dapr's word for a second head.
var errLate = errors.New("request metadata found in non-leading chunk")

// sendAnswer sends the head at once, and the body as it comes.
func sendAnswer(
	stream internalsv1.ServiceInvocation_CallLocalStreamServer, head *internalsv1.InternalInvokeResponse, body io.Reader,
) error {
	if err := stream.Send(&internalsv1.InternalInvokeResponseStream{Response: head}); err != nil {
		return err
	}
	buf := make([]byte, payloadSize)
	for seq := uint64(0); ; {
		n, err := body.Read(buf)
		if n > 0 {
			payload := &commonv1.StreamPayload{Data: buf[:n], Seq: seq}
			if err := stream.Send(&internalsv1.InternalInvokeResponseStream{Payload: payload}); err != nil {
				return err
			}
			seq++
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return failure(err)
		}
	}
}

// call is the request as every call is. The trace comes as gRPC's metadata.
func (s *Server) call(ctx context.Context, in *internalsv1.InternalInvokeRequest) (*invoke.Call, error) {
	c := call(in)
	c.Caller = callerOf(ctx)
	if c.Verb == http.MethodConnect && !s.cfg.SpeaksGRPC {
		return nil, status.Error(codes.InvalidArgument, "invalid HTTP verb")
	}
	if s.cfg.SpeaksGRPC && c.RPC == nil {
		c.RPC = &invoke.RPC{Extended: true} // so that the app's own status comes back
	}
	if p, ok := peer.FromContext(ctx); ok {
		c.Remote = p.Addr.String()
	}
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		for _, name := range []string{"traceparent", "tracestate"} {
			if v := md.Get(name); len(v) > 0 && v[0] != "" {
				c.Fields.Set(name, v[0])
			}
		}
	}
	return c, nil
}

// fromGRPC is the answer of an app that speaks gRPC: its own status is the
// response's.
func (s *Server) fromGRPC(a *invoke.Answer) (*internalsv1.InternalInvokeResponse, error) {
	message, ok, err := rpc.ReadMessage(a.Body, s.cfg.MaxMessage)
	var ended *rpc.Status
	switch {
	case errors.As(err, &ended):
	case err != nil:
		return nil, failure(err)
	default:
		ended = rpc.StatusOf(a.Fields, a.Body.Trailers())
	}
	out := response(&invoke.Answer{Fields: rpc.Metadata(a.Fields), Length: -1}, int32(ended.Code)) //nolint:gosec // a code
	out.Status.Message = ended.Message
	if len(ended.Proto) > 0 {
		whole := &spb.Status{}
		if proto.Unmarshal(ended.Proto, whole) == nil {
			out.Status.Details = whole.GetDetails()
		}
	}
	out.Trailers = toLists(rpc.Metadata(a.Body.Trailers()))
	if ok && ended.Code == rpc.OK {
		var said commonv1.InvokeResponse
		if err := proto.Unmarshal(message, &said); err != nil {
			return nil, status.Error(codes.Internal, "the app's answer is no InvokeResponse: "+err.Error())
		}
		if said.Data == nil {
			said.Data = &anypb.Any{}
		}
		out.Message = &said
	}
	return out, nil
}

// failure is err as Dapr's sidecars say it to each other: what a caller may try
// again elsewhere is Unavailable, what its rules forbid is PermissionDenied, and
// the rest is Internal. The details are ours.
func failure(err error) error {
	if s, ok := errors.AsType[*rpc.Status](err); ok {
		return status.Error(codes.Code(s.Code), s.Message)
	}
	e := apperr.From(err)
	code, text := codes.Internal, e.Message()
	switch e.Reason {
	case apperr.Refused:
		code = codes.Unavailable
	case apperr.MethodRefused:
		code, text = codes.InvalidArgument, strings.TrimPrefix(text, "rpc error: code = InvalidArgument desc = ")
	case apperr.AccessDenied, apperr.NamespaceDenied, apperr.PathAmbiguous:
		code = codes.PermissionDenied
	case apperr.GRPCAppUnavailable, apperr.DeadlineExceeded, apperr.Cancelled, apperr.BodyTooLarge:
		code = codes.Code(e.Reason.GRPC())
	default:
		if e.At() == apperr.HopApp {
			text = "error invoking app channel: " + text
		}
	}
	whole := &spb.Status{}
	if proto.Unmarshal(e.StatusProto(uint32(code), text), whole) != nil {
		return status.Error(code, text)
	}
	return status.ErrorProto(whole)
}
