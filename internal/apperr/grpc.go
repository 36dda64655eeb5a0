package apperr

import (
	"slices"

	"github.com/pillion-dev/pillion/internal/rpcstatus"
)

// StatusProto is the failure as a google.rpc.Status with the same details as
// Details, in protobuf's encoding: what a gRPC door sends, base64 without
// padding, as grpc-status-details-bin. What Dapr says of it comes first.
func (e *Error) StatusProto(code uint32, message string, first ...rpcstatus.Detail) []byte {
	details := slices.Clip(first)
	for _, d := range e.Details() {
		details = append(details, rpcstatus.ErrorInfo(string(d.Reason), d.Domain, d.Metadata))
	}
	return rpcstatus.Encode(code, message, details...)
}
