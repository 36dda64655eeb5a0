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
	"github.com/pillion-dev/pillion/internal/rpcstatus"
	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

const (
	grpcUnknown         = 2
	grpcUnauthenticated = 16
)

// mark says on an answer that pillion made it, why, and at which hop.
func mark(e *apperr.Error) invoke.Fields {
	fields := invoke.Fields{
		{Name: invoke.FieldError, Value: string(e.Reason)},
		{Name: invoke.FieldHop, Value: string(e.At())},
	}
	if e.Attempts > 1 {
		fields.Add(invoke.FieldAttempts, strconv.Itoa(e.Attempts))
	}
	return fields
}

// render is the answer to a request for the app called id that failed with e,
// as the client expects errors: Dapr's JSON, or a gRPC status.
func render(grpc bool, id string, e *apperr.Error) h1.Reply {
	if grpc {
		return grpcReply(e.Reason.GRPC(), e.Message(), e)
	}
	body := e.InvokeBody(id)
	if id == "" {
		body.Message = e.Message()
	}
	return jsonReply(e.Reason.HTTPStatus(), mark(e), body)
}

// encoded is an answer of the API as Dapr writes it: what means something in HTML
// is escaped, and a new line ends it.
func encoded(status int, fields invoke.Fields, body any) h1.Reply {
	data, err := json.Marshal(body)
	if err != nil { // nothing that is encoded here can fail, short of a value that is no JSON
		return basicError(http.StatusInternalServerError, "ERR_INTERNAL", "failed to encode response as JSON: "+err.Error())
	}
	fields.Add("Content-Type", "application/json")
	return h1.Reply{Status: status, Fields: fields, Body: append(data, '\n')}
}

func jsonReply(status int, fields invoke.Fields, body any) h1.Reply {
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false) // people read hints such as <command> with curl
	if err := encoder.Encode(body); err != nil {
		status = http.StatusInternalServerError
		data.Reset()
		data.WriteString(`{"errorCode":"ERR_INTERNAL"}`)
	}
	fields.Add("Content-Type", "application/json")
	// Dapr's ends without a new line.
	return h1.Reply{Status: status, Fields: fields, Body: bytes.TrimSuffix(data.Bytes(), []byte("\n"))}
}

// plain is e as Go's own server says errors, and so Dapr's.
func plain(e *apperr.Error) h1.Reply {
	fields := mark(e)
	fields.Add("Content-Type", "text/plain; charset=utf-8")
	fields.Add("X-Content-Type-Options", "nosniff")
	return h1.Reply{Status: e.Reason.HTTPStatus(), Fields: fields, Body: []byte(e.What + "\n")}
}

// grpcReply is a gRPC error in its shortest form: a head that is the trailers.
// What Dapr says of it comes first among the details.
func grpcReply(code uint32, message string, e *apperr.Error, first ...rpcstatus.Detail) h1.Reply {
	details := base64.RawStdEncoding.EncodeToString(e.StatusProto(code, message, first...))
	fields := invoke.Fields{
		{Name: "Content-Type", Value: "application/grpc"},
		{Name: fieldGRPCStatus, Value: strconv.FormatUint(uint64(code), 10)},
		{Name: "Grpc-Message", Value: percentEncoded(message)},
		{Name: "Grpc-Status-Details-Bin", Value: details},
	}
	return h1.Reply{Status: http.StatusOK, Fields: append(fields, mark(e)...)}
}

// grpcTrailers are e behind an answer that has begun.
func grpcTrailers(e *apperr.Error) invoke.Fields {
	return grpcReply(e.Reason.GRPC(), e.Message(), e).Fields[1:] // the type was said in the head
}

// write writes a reply by net/http. A client that is gone cannot be told.
func write(w http.ResponseWriter, r h1.Reply) {
	h := w.Header()
	for _, f := range r.Fields {
		h.Set(f.Name, f.Value)
	}
	if len(r.Body) > 0 {
		h.Set("Content-Length", strconv.Itoa(len(r.Body)))
	}
	w.WriteHeader(r.Status)
	if len(r.Body) > 0 {
		_, _ = w.Write(r.Body)
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
