// Package daprerr is how Dapr's API says that something could not be done,
// beside service invocation, whose errors are apperr's: a status, a code word,
// a message and details, the same for both doors. What is in here is what
// clients of Dapr see, to the byte.
package daprerr

import "errors"

// Types of details, as their @type ends.
const (
	TypeErrorInfo    = "google.rpc.ErrorInfo"
	TypeResourceInfo = "google.rpc.ResourceInfo"
	TypeBadRequest   = "google.rpc.BadRequest"
)

// Domain is the domain of Dapr's own ErrorInfo.
const Domain = "dapr.io"

// An Error is one failure of a building block. It is never changed after it
// has been returned.
type Error struct {
	// HTTP and GRPC are what the doors answer with.
	HTTP int
	GRPC uint32
	// Code is errorCode over HTTP, such as ERR_STATE_STORE_NOT_FOUND.
	Code string
	// Message is one line that suffices alone.
	Message string
	// Info and Resource are Dapr's rich details; nil in its basic form, in which
	// the answer has no details.
	Info     *Info
	Resource *Resource
	// Violations are the fields of a request that are wrong, for BadRequest.
	Violations []Violation
	// OverGRPC is what the gRPC door says instead, where Dapr's doors differ by
	// more than their codes; nil: the same. Its HTTP part means nothing.
	OverGRPC *Error
	// Err is the error underneath, for errors.Is and the debug log.
	Err error
}

// gRPC's codes, as google.golang.org/grpc/codes numbers them.
const (
	GRPCUnknown            = 2
	GRPCInvalidArgument    = 3
	GRPCNotFound           = 5
	GRPCPermissionDenied   = 7
	GRPCFailedPrecondition = 9
	GRPCAborted            = 10
	GRPCUnimplemented      = 12
	GRPCInternal           = 13
	GRPCUnavailable        = 14
)

// Info is a google.rpc.ErrorInfo.
type Info struct {
	Reason   string
	Metadata map[string]string
}

// Resource is a google.rpc.ResourceInfo.
type Resource struct{ Type, Name, Owner, Description string }

// A Violation is one field of a google.rpc.BadRequest.
type Violation struct{ Field, Description string }

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Err }

// As returns the Error in err's chain.
func As(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// ForGRPC is the error as the gRPC door says it: code, message and details. The
// basic form, which has no details over HTTP, has its code word as the reason of
// an ErrorInfo there.
func (e *Error) ForGRPC() *Error {
	if e.OverGRPC != nil {
		return e.OverGRPC
	}
	if e.Info != nil || e.Code == "" {
		return e
	}
	over := *e
	over.Info = &Info{Reason: e.Code}
	return &over
}

// body is the HTTP form.
type body struct {
	ErrorCode string `json:"errorCode"`
	Message   string `json:"message"`
	Details   []any  `json:"details,omitempty"`
}

const typePrefix = "type.googleapis.com/"

// The details' fields stand in the order of their names, and none is left out,
// as Dapr writes them.
type (
	infoJSON struct {
		Type     string            `json:"@type"`
		Domain   string            `json:"domain"`
		Metadata map[string]string `json:"metadata"` // null if there is none
		Reason   string            `json:"reason"`
	}
	resourceJSON struct {
		Type        string `json:"@type"`
		Description string `json:"description"`
		Owner       string `json:"owner"`
		Name        string `json:"resource_name"`
		Resource    string `json:"resource_type"`
	}
	badRequestJSON struct {
		Type       string          `json:"@type"`
		Violations []violationJSON `json:"field_violations"`
	}
	violationJSON struct {
		Field       string `json:"field,omitempty"`
		Description string `json:"description,omitempty"`
	}
)

// Body is what the HTTP door encodes as JSON.
func (e *Error) Body() any {
	b := body{ErrorCode: e.Code, Message: e.Message}
	// The order is Dapr's.
	if len(e.Violations) > 0 {
		bad := badRequestJSON{Type: typePrefix + TypeBadRequest}
		for _, v := range e.Violations {
			bad.Violations = append(bad.Violations, violationJSON(v))
		}
		b.Details = append(b.Details, bad)
	}
	if e.Resource != nil {
		r := e.Resource
		b.Details = append(b.Details, resourceJSON{typePrefix + TypeResourceInfo, r.Description, r.Owner, r.Name, r.Type})
	}
	if e.Info != nil {
		b.Details = append(b.Details, infoJSON{typePrefix + TypeErrorInfo, Domain, e.Info.Metadata, e.Info.Reason})
	}
	return b
}
