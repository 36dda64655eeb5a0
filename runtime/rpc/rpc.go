// Package rpc is what Dapr's gRPC and HTTP say of each other: codes and
// statuses, metadata and header lines, the messages of a service invocation,
// the framing of a unary exchange. It carries nothing.
package rpc

import "net/http"

// The codes of gRPC that are looked at here.
const (
	OK                = 0
	Canceled          = 1
	Unknown           = 2
	InvalidArgument   = 3
	DeadlineExceeded  = 4
	NotFound          = 5
	AlreadyExists     = 6
	PermissionDenied  = 7
	ResourceExhausted = 8
	FailedPrecond     = 9
	Aborted           = 10
	OutOfRange        = 11
	Unimplemented     = 12
	Internal          = 13
	Unavailable       = 14
	DataLoss          = 15
	Unauthenticated   = 16
)

// statuses are the HTTP statuses of the codes, as Dapr has them.
var statuses = [...]int{
	OK:                http.StatusOK,
	Canceled:          http.StatusRequestTimeout,
	Unknown:           http.StatusInternalServerError,
	InvalidArgument:   http.StatusBadRequest,
	DeadlineExceeded:  http.StatusGatewayTimeout,
	NotFound:          http.StatusNotFound,
	AlreadyExists:     http.StatusConflict,
	PermissionDenied:  http.StatusForbidden,
	ResourceExhausted: http.StatusTooManyRequests,
	FailedPrecond:     http.StatusBadRequest,
	Aborted:           http.StatusConflict,
	OutOfRange:        http.StatusBadRequest,
	Unimplemented:     http.StatusNotImplemented,
	Internal:          http.StatusInternalServerError,
	Unavailable:       http.StatusServiceUnavailable,
	DataLoss:          http.StatusInternalServerError,
	Unauthenticated:   http.StatusUnauthorized,
}

// HTTPStatus is the HTTP status that Dapr makes of a code.
func HTTPStatus(code uint32) int {
	if int64(code) < int64(len(statuses)) {
		return statuses[code]
	}
	return http.StatusInternalServerError
}

// codes are the codes of the HTTP statuses from 300 on that have one. It is not
// statuses the other way round.
var codes = map[int]uint32{
	http.StatusBadRequest:         Internal,
	http.StatusUnauthorized:       Unauthenticated,
	http.StatusForbidden:          PermissionDenied,
	http.StatusNotFound:           NotFound,
	http.StatusRequestTimeout:     Canceled,
	http.StatusConflict:           AlreadyExists,
	http.StatusTooManyRequests:    ResourceExhausted,
	http.StatusNotImplemented:     Unimplemented,
	http.StatusServiceUnavailable: Unavailable,
	http.StatusGatewayTimeout:     DeadlineExceeded,
}

// Code is the code that Dapr makes of an HTTP status.
func Code(status int) uint32 {
	if status >= 200 && status <= 299 {
		return OK
	}
	if code, ok := codes[status]; ok {
		return code
	}
	return Unknown
}
