package state

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/pillion-dev/pillion/internal/daprerr"
)

// Code words of Dapr's state API.
const (
	codeNotConfigured   = "ERR_STATE_STORE_NOT_CONFIGURED"
	codeNotFound        = "ERR_STATE_STORE_NOT_FOUND"
	codeMalformed       = "ERR_MALFORMED_REQUEST"
	codeGet             = "ERR_STATE_GET"
	codeBulkGet         = "ERR_STATE_BULK_GET"
	codeSave            = "ERR_STATE_SAVE"
	codeDelete          = "ERR_STATE_DELETE"
	codeBulkDelete      = "ERR_STATE_BULK_DELETE"
	codeTransaction     = "ERR_STATE_TRANSACTION"
	codeTooMany         = "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS"
	codeOperation       = "ERR_NOT_SUPPORTED_STATE_OPERATION"
	codeNotSupported    = "ERR_STATE_STORE_NOT_SUPPORTED"
	reasonNotConfigured = "DAPR_STATE_NOT_CONFIGURED"
	reasonNotFound      = "DAPR_STATE_NOT_FOUND"
	reasonIllegalKey    = "DAPR_STATE_ILLEGAL_KEY"
	reasonTooMany       = "DAPR_STATE_TOO_MANY_TRANSACTIONS"
	reasonNoQuery       = "DAPR_STATE_QUERYING_NOT_SUPPORTED"
)

// noStore is an error about the name of a store. Only the HTTP door says whose
// sidecar it is.
func noStore(e daprerr.Error, reason, app string) error {
	e.Info = &daprerr.Info{Reason: reason}
	over := e
	e.OverGRPC = &over
	if app != "" {
		e.Info = &daprerr.Info{Reason: reason, Metadata: map[string]string{"appID": app}}
	}
	return &e
}

func notConfigured(store, app string) error {
	return noStore(daprerr.Error{
		HTTP: http.StatusInternalServerError, GRPC: daprerr.GRPCFailedPrecondition,
		Code: codeNotConfigured, Message: fmt.Sprintf("state store %s is not configured", store),
	}, reasonNotConfigured, app)
}

func notFound(store, app string) error {
	return noStore(daprerr.Error{
		HTTP: http.StatusBadRequest, GRPC: daprerr.GRPCInvalidArgument,
		Code: codeNotFound, Message: fmt.Sprintf("state store %s is not found", store),
	}, reasonNotFound, app)
}

func resource(store string) *daprerr.Resource { return &daprerr.Resource{Type: "state", Name: store} }

// illegalKey is Dapr's: its HTTP door wraps what its gRPC door says.
func illegalKey(store, key string, err error) error {
	says := func(message string) *daprerr.Error {
		return &daprerr.Error{
			HTTP: http.StatusBadRequest, GRPC: daprerr.GRPCInvalidArgument,
			Code: codeMalformed, Message: message, Err: err,
			Info: &daprerr.Info{Reason: reasonIllegalKey}, Resource: resource(store),
			Violations: []daprerr.Violation{{Field: key, Description: message}},
		}
	}
	e := says("api error: code = InvalidArgument desc = " + err.Error())
	e.OverGRPC = says(err.Error())
	return e
}

func emptyKey() error {
	return &daprerr.Error{
		HTTP: http.StatusBadRequest, GRPC: daprerr.GRPCInvalidArgument,
		Code: codeMalformed, Message: `"key" is a required field`,
		OverGRPC: &daprerr.Error{
			GRPC: daprerr.GRPCInvalidArgument, Code: codeSave, Message: "state key cannot be empty",
			Info: &daprerr.Info{Reason: codeSave},
		},
	}
}

// notJSON is a value whose contentType says that it is JSON. Only gRPC can send
// one, and Dapr answers with the bare error.
func notJSON(err error) error {
	return &daprerr.Error{
		HTTP: http.StatusBadRequest, GRPC: daprerr.GRPCUnknown, Code: codeMalformed, Message: err.Error(), Err: err,
		OverGRPC: &daprerr.Error{GRPC: daprerr.GRPCUnknown, Message: err.Error(), Err: err},
	}
}

// failed is an operation that a store could not do, or whose condition does not
// hold; format takes the error last.
func failed(code string, err error, format string, values ...any) error {
	e := &daprerr.Error{
		HTTP: http.StatusInternalServerError, GRPC: daprerr.GRPCInternal,
		Code: code, Message: fmt.Sprintf(format, append(values, err)...), Err: err,
	}
	switch {
	case errors.Is(err, ErrETagMismatch):
		e.HTTP, e.GRPC = http.StatusConflict, daprerr.GRPCAborted
	case errors.Is(err, ErrETagInvalid):
		e.HTTP, e.GRPC = http.StatusBadRequest, daprerr.GRPCInvalidArgument
	}
	return e
}

// bulkGetFailed is all of a bulk get; what fails for one key stands beside it.
func bulkGetFailed(err error) error {
	return &daprerr.Error{
		HTTP: http.StatusInternalServerError, GRPC: daprerr.GRPCUnknown, Code: codeBulkGet, Message: err.Error(), Err: err,
		OverGRPC: &daprerr.Error{GRPC: daprerr.GRPCUnknown, Message: err.Error(), Err: err},
	}
}

// transactionFailed has one status for everything, a wrong ETag too.
func transactionFailed(err error) error {
	return &daprerr.Error{
		HTTP: http.StatusInternalServerError, GRPC: daprerr.GRPCInternal,
		Code: codeTransaction, Message: fmt.Sprintf("error while executing state transaction: %s", err), Err: err,
	}
}

func unknownOperation(operation string) error {
	return &daprerr.Error{
		HTTP: http.StatusBadRequest, GRPC: daprerr.GRPCUnimplemented,
		Code: codeOperation, Message: fmt.Sprintf("operation type %s not supported", operation),
	}
}

func tooMany(store string, count, limit int) error {
	return &daprerr.Error{
		HTTP: http.StatusBadRequest, GRPC: daprerr.GRPCInvalidArgument, Code: codeTooMany,
		Message: fmt.Sprintf("the transaction contains %d operations, which is more than what the state store supports: %d",
			count, limit),
		Resource: resource(store),
		Info: &daprerr.Info{Reason: reasonTooMany, Metadata: map[string]string{
			"currentOpsTransaction": strconv.Itoa(count), "maxOpsPerTransaction": strconv.Itoa(limit),
		}},
	}
}

func noQuery(store string) error {
	return &daprerr.Error{
		HTTP: http.StatusInternalServerError, GRPC: daprerr.GRPCInternal,
		Code: codeNotSupported, Message: "state store does not support querying",
		Resource: resource(store), Info: &daprerr.Info{Reason: reasonNoQuery},
	}
}
