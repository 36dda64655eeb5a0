package grpcapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	runtimev1 "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/daprerr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// fieldStatus is the answer's metadata with the HTTP status of the app.
const fieldStatus = "dapr-http-status"

// excerptLimit is how much of an app's error a client is shown.
const excerptLimit = 63

// InvokeService calls a method of an app, whatever it speaks.
func (s *Server) InvokeService(ctx context.Context, in *runtimev1.InvokeServiceRequest) (*invokeResponse, error) {
	call, err := s.call(ctx, in)
	if err != nil {
		return nil, invokeFailed(ctx, in.GetId(), err)
	}
	answer, err := s.cfg.Invoke.Serve(ctx, call)
	if err != nil {
		return nil, invokeFailed(ctx, in.GetId(), err)
	}
	defer func() { _ = answer.Body.Close() }() // it was read to its end, or is of no use
	if rpc.IsGRPC(answer) {
		return s.fromGRPC(ctx, in.GetId(), answer)
	}
	return s.fromHTTP(ctx, in.GetId(), answer)
}

// call is the request as every call is.
func (s *Server) call(ctx context.Context, in *runtimev1.InvokeServiceRequest) (*invoke.Call, error) {
	target, err := invoke.ParseTarget(in.GetId())
	if err != nil {
		return nil, err
	}
	message := in.GetMessage()
	if message == nil {
		return nil, badRequest("the request has no message",
			"parsing InternalInvokeRequest error: request does not contain the required fields in the leading chunk")
	}
	path, e := pathOf(message)
	if e != nil {
		return nil, e
	}
	c := &invoke.Call{
		Target: target, Verb: message.GetHttpExtension().GetVerb().String(), Path: path, Asked: InvokeService, Major: 2,
		RPC: &invoke.RPC{TypeURL: message.GetData().GetTypeUrl(), Extended: message.GetHttpExtension() != nil},
	}
	if p, ok := peer.FromContext(ctx); ok {
		c.Remote = p.Addr.String()
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if host := md.Get(":authority"); len(host) > 0 {
		c.Host = host[0]
	}
	c.Fields = fieldsOf(md)
	if kind := message.GetContentType(); kind != "" {
		c.Fields.Add("Content-Type", kind)
	}
	if data := message.GetData().GetValue(); len(data) > 0 {
		c.Body, c.Length = invoke.BytesBody(data), int64(len(data))
	}
	return c, nil
}

// badRequest is an error of the request itself, as Dapr words them.
func badRequest(what, dapr string) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.Usage, What: what, Dapr: "rpc error: code = InvalidArgument desc = " + dapr, Reached: apperr.ReachedNo,
	}
}

// pathOf is the request target of a method. What is written with a percent sign
// stays as it is; what cannot stand in a target is written so.
func pathOf(message *commonv1.InvokeRequest) (string, *apperr.Error) {
	name := message.GetMethod()
	for i := range len(name) {
		switch c := name[i]; {
		case c == '#' || c == '?':
			return "", badRequest("the method "+strconv.Quote(name)+" holds "+strconv.Quote(string(c)),
				"invalid method: method contains forbidden character: "+strconv.Quote(name))
		case c < ' ' || c == 0x7f:
			return "", badRequest("the method "+strconv.Quote(name)+" holds a control character",
				"invalid method: method contains control character at position "+strconv.Itoa(i)+": "+strconv.Quote(name))
		}
	}
	path := "/" + escaped(strings.TrimLeft(name, "/"))
	if query := message.GetHttpExtension().GetQuerystring(); query != "" {
		path += "?" + escaped(query)
	}
	return path, nil
}

// escaped is s with what cannot stand in a request target percent-encoded.
func escaped(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}#", c) >= 0:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// fieldsOf is a request's metadata as a call has it, names in order. What gRPC
// uses itself is not in it, nor a length: the body has its own.
func fieldsOf(md metadata.MD) invoke.Fields {
	names := make([]string, 0, len(md))
	for name := range md {
		names = append(names, name)
	}
	slices.Sort(names)
	fields := make(invoke.Fields, 0, len(names)+8) // room for what identifies the caller
	for _, name := range names {
		to := name
		switch {
		case name == "content-type", name == "content-length", strings.EqualFold(name, invoke.FieldTarget):
			continue
		case name[0] == ':':
			to = "dapr-" + name[1:]
		case name == rpc.TraceBin:
			if trace := rpc.Traceparent([]byte(md[name][0])); trace != "" && len(md["traceparent"]) == 0 {
				fields.Add("Traceparent", trace)
			}
		case strings.HasPrefix(name, "grpc-"):
			to = "dapr-" + name
		}
		to = http.CanonicalHeaderKey(to)
		for _, value := range md[name] {
			if rpc.IsBinary(name) {
				value = rpc.Text([]byte(value))
			}
			fields.Add(to, value)
		}
	}
	return fields
}

// fromHTTP is the answer of an app that speaks HTTP.
func (s *Server) fromHTTP(ctx context.Context, id string, answer *invoke.Answer) (*invokeResponse, error) {
	data, err := rpc.ReadAll(answer.Body, s.max)
	if err != nil {
		return nil, s.cutOff(ctx, id, err)
	}
	_ = grpc.SetHeader(ctx, headOf(rpc.ToMetadata(answer.Fields), fieldStatus, strconv.Itoa(answer.Status))) // fails for a stream that has ended
	if code := rpc.Code(answer.Status); code != rpc.OK {
		return nil, httpStatus(codes.Code(code), answer.Status, data)
	}
	return &commonv1.InvokeResponse{
		Data: &anypb.Any{Value: data}, ContentType: answer.Fields.Get("content-type"),
	}, nil
}

// cutOff is the error of an answer that could not be read to its end.
func (s *Server) cutOff(ctx context.Context, id string, err error) error {
	if st, ok := errors.AsType[*rpc.Status](err); ok {
		return appStatus(st)
	}
	return invokeFailed(ctx, id, err)
}

// httpStatus is the error that Dapr makes of an HTTP app's answer.
func httpStatus(code codes.Code, httpCode int, body []byte) error {
	text := http.StatusText(httpCode)
	return withDetails(status.New(code, text), &errdetails.ErrorInfo{
		Reason: text, Domain: daprerr.Domain,
		Metadata: map[string]string{"http.code": strconv.Itoa(httpCode), "http.error_message": excerpt(body)},
	})
}

// excerpt is the beginning of an app's error, in whole letters: protobuf takes
// no others.
func excerpt(body []byte) string {
	if len(body) > excerptLimit {
		body = body[:excerptLimit]
		for i := len(body) - 1; i >= 0 && i >= len(body)-utf8.UTFMax; i-- {
			if utf8.RuneStart(body[i]) {
				if !utf8.FullRune(body[i:]) {
					body = body[:i]
				}
				break
			}
		}
	}
	return strings.ToValidUTF8(string(body), "\uFFFD")
}

// headOf is metadata as grpc-go has it, and one line more. Binary values that
// are none are left out.
func headOf(fields invoke.Fields, pairs ...string) metadata.MD {
	md := metadata.Pairs(pairs...)
	for _, f := range fields {
		value := f.Value
		if rpc.IsBinary(f.Name) {
			b, err := rpc.Bytes(value)
			if err != nil {
				continue
			}
			value = string(b)
		}
		md.Append(f.Name, value)
		if strings.EqualFold(f.Name, "traceparent") {
			if trace := rpc.BinaryTrace(value); trace != nil {
				md.Set(rpc.TraceBin, string(trace))
			}
		}
	}
	return md
}

// fromGRPC is the answer of an app that speaks gRPC, as it gave it.
func (s *Server) fromGRPC(ctx context.Context, id string, answer *invoke.Answer) (*invokeResponse, error) {
	message, ok, err := rpc.ReadMessage(answer.Body, s.max)
	if err != nil {
		return nil, s.cutOff(ctx, id, err)
	}
	trailers := answer.Body.Trailers()
	_ = grpc.SetHeader(ctx, headOf(rpc.Metadata(answer.Fields))) // fails for a stream that has ended
	_ = grpc.SetTrailer(ctx, headOf(rpc.Metadata(trailers)))     // as above
	if err := appStatus(rpc.StatusOf(answer.Fields, trailers)); err != nil {
		return nil, err
	}
	out := &commonv1.InvokeResponse{}
	if !ok {
		return nil, status.Error(codes.Internal, "the app answered without a message")
	}
	if err := proto.Unmarshal(message, out); err != nil {
		return nil, status.Error(codes.Internal, "the app's answer is no InvokeResponse: "+err.Error())
	}
	return out, nil
}
