package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

const (
	grpcUnknown         = 2
	grpcUnimplemented   = 12
	grpcUnauthenticated = 16
)

// mark says on an answer that pillion made it, why, and at which hop.
func mark(h http.Header, e *apperr.Error) {
	h.Set(invoke.FieldError, string(e.Reason))
	h.Set(invoke.FieldHop, string(e.At()))
}

// writeError answers a request for the app called id with e, as the client
// expects errors: Dapr's JSON, or a gRPC status.
func writeError(w http.ResponseWriter, r *http.Request, id string, e *apperr.Error) {
	if isGRPC(r) {
		writeGRPC(w, e.Reason.GRPC(), e.Message(), e)
		return
	}
	mark(w.Header(), e)
	body := e.InvokeBody(id)
	if id == "" {
		body.Message = e.Message()
	}
	writeJSON(w, e.Reason.HTTPStatus(), body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false) // people read hints such as <command> with curl
	if err := encoder.Encode(body); err != nil {
		status = http.StatusInternalServerError
		data.Reset()
		data.WriteString(`{"errorCode":"ERR_INTERNAL"}`)
	}
	text := bytes.TrimSuffix(data.Bytes(), []byte("\n")) // Dapr's ends without one
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that is gone cannot be told
}

// writeMissing answers a request that names no app.
func writeMissing(w http.ResponseWriter, r *http.Request) {
	e := invoke.TargetMissing()
	if isGRPC(r) {
		writeGRPC(w, grpcUnknown, "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata", e)
		return
	}
	writeError(w, r, "", e)
}

// writeTokenError is Dapr's answer to a request without the API token.
func writeTokenError(w http.ResponseWriter, r *http.Request) {
	e := &apperr.Error{Reason: apperr.TokenDenied, What: "invalid api token", Reached: apperr.ReachedNo}
	if isGRPC(r) {
		writeGRPC(w, grpcUnauthenticated, "Unauthorized", e)
		return
	}
	mark(w.Header(), e)
	http.Error(w, "invalid api token", http.StatusUnauthorized)
}

// writeGRPC is a gRPC error in its shortest form: a head that is the trailers.
func writeGRPC(w http.ResponseWriter, code uint32, message string, e *apperr.Error) {
	h := w.Header()
	if e != nil {
		mark(h, e)
	} else {
		h.Set(invoke.FieldError, "UNIMPLEMENTED")
	}
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.FormatUint(uint64(code), 10))
	h.Set("Grpc-Message", percentEncoded(message))
	if e != nil {
		h.Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(e.StatusProto(code, message)))
	}
	w.WriteHeader(http.StatusOK)
}

// grpcTrailers are e behind an answer that has begun.
func grpcTrailers(e *apperr.Error) invoke.Fields {
	code, message := e.Reason.GRPC(), e.Message()
	return invoke.Fields{
		{Name: "Grpc-Status", Value: strconv.FormatUint(uint64(code), 10)},
		{Name: "Grpc-Message", Value: percentEncoded(message)},
		{Name: "Grpc-Status-Details-Bin", Value: base64.RawStdEncoding.EncodeToString(e.StatusProto(code, message))},
		{Name: invoke.FieldError, Value: string(e.Reason)},
		{Name: invoke.FieldHop, Value: string(e.At())},
	}
}

// percentEncoded is a gRPC message as it may stand in a field: printable ASCII
// but %, everything else encoded byte by byte.
func percentEncoded(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
