package daprmesh

import (
	"bytes"
	"io"
	"net/http"
	"strconv"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalsv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// fromGRPC is what an app that speaks gRPC said. InvokeService gets it as the
// app would give it, HTTP with the status that Dapr makes of the app's.
func (e *exchange) fromGRPC(head *internalsv1.InternalInvokeResponse, body *receiver) (*invoke.Answer, error) {
	data, err := rpc.ReadAll(body, e.t.cfg.MaxMessage)
	_ = body.Close() // it has been read, or err is the one to report
	if err != nil {
		return nil, err
	}
	ended := statusOf(head.GetStatus())
	kind := head.GetMessage().GetContentType()
	a := &invoke.Answer{Status: http.StatusOK, Major: 1}
	if e.call.RPC == nil {
		a.Status, a.Fields = rpc.HTTPStatus(ended.Code), rpc.ToHeader(rpc.Metadata(fromMetadata(head.GetHeaders())))
		if ended.Code != rpc.OK {
			data, kind = ended.JSON(), "application/json"
		}
		if kind != "" {
			a.Fields.Set("Content-Type", kind)
		}
		a.Body, a.Length = invoke.BytesBody(data), int64(len(data))
		return a, nil
	}
	a.Major, a.Length = 2, -1
	a.Fields = append(rpc.Metadata(fromMetadata(head.GetHeaders())), invoke.Field{Name: "content-type", Value: "application/grpc"})
	trailers := append(rpc.Metadata(fromMetadata(head.GetTrailers())),
		invoke.Field{Name: "grpc-status", Value: strconv.FormatUint(uint64(ended.Code), 10)},
		invoke.Field{Name: "grpc-message", Value: rpc.Percent(ended.Message)})
	if len(ended.Proto) > 0 {
		trailers.Add("grpc-status-details-bin", rpc.Text(ended.Proto))
	}
	message, err := proto.Marshal(&commonv1.InvokeResponse{
		ContentType: kind, Data: &anypb.Any{TypeUrl: head.GetMessage().GetData().GetTypeUrl(), Value: data},
	})
	if err != nil {
		return nil, e.notDapr(err.Error())
	}
	var framed []byte
	if ended.Code == rpc.OK {
		framed = rpc.Frame(message)
	}
	a.Body = invoke.NewBody(io.NopCloser(bytes.NewReader(framed)), func() invoke.Fields { return trailers })
	return a, nil
}

// fromMetadata are a message's lines as metadata.
func fromMetadata(all lists) invoke.Fields {
	var fields invoke.Fields
	for name, values := range all {
		for _, value := range values.GetValues() {
			fields.Add(name, value)
		}
	}
	return fields
}

// statusOf is a message's status as gRPC has it.
func statusOf(s *internalsv1.Status) *rpc.Status {
	out := &rpc.Status{Code: uint32(s.GetCode()), Message: s.GetMessage()} //nolint:gosec // below 100
	if len(s.GetDetails()) > 0 {
		whole := &spb.Status{Code: s.GetCode(), Message: s.GetMessage(), Details: s.GetDetails()}
		if data, err := proto.Marshal(whole); err == nil {
			out.Proto = data
		}
	}
	return out
}

// said is the error that a peer ended an exchange with.
func (e *exchange) said(s *rpc.Status) *apperr.Error {
	if own := ownError(s); own != nil {
		if own.Instance == "" {
			own.Instance = e.to.Instance
		}
		return own
	}
	out := &apperr.Error{
		Reason: apperr.ProtocolError, Hop: apperr.HopPeer, What: "the sidecar of " + e.app + " could not call it",
		Dapr: "rpc error: code = " + codes.Code(s.Code).String() + " desc = " + s.Message, Instance: e.to.Instance,
	}
	switch s.Code {
	case rpc.PermissionDenied:
		out.Reason, out.Dapr, out.Reached = apperr.AccessDenied, s.Message, apperr.ReachedNo // the door says the rest
	case rpc.DeadlineExceeded:
		out.Reason = apperr.DeadlineExceeded
	case rpc.Unavailable:
		out.Reason = apperr.PeerGone
	}
	return out
}

// ownError is the error in a status that a pillion has sent; nil if it is
// another's.
func ownError(s *rpc.Status) *apperr.Error {
	whole := &spb.Status{}
	if proto.Unmarshal(s.Proto, whole) != nil {
		whole.Reset() // what cannot be read is another's
	}
	for _, d := range whole.GetDetails() {
		info := new(errdetails.ErrorInfo)
		if !d.MessageIs(info) || proto.Unmarshal(d.GetValue(), info) != nil || info.GetDomain() != apperr.Domain {
			continue
		}
		said := info.GetMetadata()
		out := &apperr.Error{
			Reason: apperr.Reason(info.GetReason()), What: s.Message, Hop: apperr.Hop(said["hop"]),
			Cause: said["cause"], Hint: said["hint"], Instance: said["instance"],
		}
		if said["reached"] == apperr.ReachedNo.String() {
			out.Reached = apperr.ReachedNo
		}
		return out
	}
	return nil
}
