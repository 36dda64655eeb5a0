package grpcapi

import (
	"context"
	"errors"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/daprerr"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// failure is err as a client of Dapr's service sees it.
func failure(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := daprerr.As(err); ok {
		return daprStatus(e.ForGRPC())
	}
	if e, ok := errors.AsType[*apperr.Error](err); ok {
		return ownStatus(codes.Code(e.Reason.GRPC()), e.Message(), e)
	}
	if s, ok := errors.AsType[*rpc.Status](err); ok {
		return appStatus(s)
	}
	return err
}

// daprStatus is an error of a building block with its details, in Dapr's order.
func daprStatus(e *daprerr.Error) error {
	var details []protoadapt.MessageV1
	if len(e.Violations) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range e.Violations {
			bad.FieldViolations = append(bad.FieldViolations,
				&errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Description})
		}
		details = append(details, bad)
	}
	if r := e.Resource; r != nil {
		details = append(details, &errdetails.ResourceInfo{
			ResourceType: r.Type, ResourceName: r.Name, Owner: r.Owner, Description: r.Description,
		})
	}
	if e.Info != nil {
		details = append(details, &errdetails.ErrorInfo{Reason: e.Info.Reason, Domain: daprerr.Domain, Metadata: e.Info.Metadata})
	}
	return withDetails(status.New(codes.Code(e.GRPC), e.Message), details...)
}

// withDetails adds what can be encoded.
func withDetails(s *status.Status, details ...protoadapt.MessageV1) error {
	if len(details) == 0 {
		return s.Err()
	}
	if with, err := s.WithDetails(details...); err == nil {
		return with.Err()
	}
	return s.Err()
}

// ownStatus is an error of pillion's with the details that every door gives.
func ownStatus(code codes.Code, message string, e *apperr.Error) error {
	p := &spb.Status{}
	if err := proto.Unmarshal(e.StatusProto(uint32(code), message), p); err != nil {
		return status.Error(code, message)
	}
	return status.ErrorProto(p)
}

// appStatus is how an app that speaks gRPC ended a call; nil if it was well.
func appStatus(s *rpc.Status) error {
	if s.Code == rpc.OK {
		return nil
	}
	p := &spb.Status{}
	if len(s.Proto) == 0 || proto.Unmarshal(s.Proto, p) != nil {
		return status.Error(codes.Code(s.Code), s.Message)
	}
	return status.ErrorProto(p)
}

// invokeFailed is the error of a call that no app answered. Dapr says Internal
// of all but those whose time was up, and so do we; what failed is in the
// message and in the details.
func invokeFailed(ctx context.Context, id string, err error) error {
	e := apperr.From(err)
	code := codes.Internal
	if speaksForItself(e.Reason) {
		code = codes.Code(e.Reason.GRPC())
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	return ownStatus(code, e.InvokeBody(id).Message, e)
}

func speaksForItself(r apperr.Reason) bool {
	switch r {
	case apperr.DeadlineExceeded, apperr.Cancelled, apperr.BodyTooLarge, apperr.GRPCAppUnavailable, apperr.CircuitOpen:
		return true
	default:
		return false
	}
}
