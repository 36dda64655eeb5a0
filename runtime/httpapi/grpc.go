package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/daprerr"
	"github.com/pillion-dev/pillion/internal/rpcstatus"
	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// GRPC is Dapr's own gRPC service as the door has it: on every HTTP/2
// connection, beside the calls to apps.
type GRPC struct {
	// Handler answers a request that has been admitted. It gets a writer that
	// can flush, and trailers.
	Handler http.Handler
	// Methods are the paths it answers, whatever app a request names. Those of
	// Reflection it answers if none is named.
	Methods, Reflection map[string]bool
	// Invoke is the method that is a call to an app.
	Invoke string
}

// serveGRPC answers Dapr's own methods, and reports whether the request was for
// one.
func (d *door) serveGRPC(w http.ResponseWriter, r *http.Request, a *ask) bool {
	own := &d.cfg.GRPC
	if d.public || own.Handler == nil || !a.isGRPC() {
		return false
	}
	if !own.Methods[a.target] {
		if !own.Reflection[a.target] {
			return false
		}
		if _, _, named := route(a); named {
			return false
		}
	}
	if a.timeout != "" {
		left, e := a.timeLeft()
		if e != nil {
			write(w, render(true, "", e))
			return true
		}
		r.Header.Set("Grpc-Timeout", inMilliseconds(left))
	}
	for name := range r.Header {
		if d.endsHere(name) {
			delete(r.Header, name)
		}
	}
	if watching, ok := w.(*watched); ok {
		watching.call = a.target == own.Invoke
	}
	own.Handler.ServeHTTP(&flusher{ResponseWriter: w, rc: http.NewResponseController(w)}, r)
	return true
}

// inMilliseconds is d as gRPC's time-out, rounded up; its eight digits are more
// than a day.
func inMilliseconds(d time.Duration) string {
	const most = 99_999_999
	return strconv.FormatInt(min(int64((d+time.Millisecond-1)/time.Millisecond), most), 10) + "m"
}

// A flusher can be asked itself, which is the only way grpc-go asks.
type flusher struct {
	http.ResponseWriter
	rc *http.ResponseController
}

// Flush implements http.Flusher.
func (f *flusher) Flush() { _ = f.rc.Flush() } // what fails, fails the next write

// Unwrap lets http.ResponseController find the writer underneath.
func (f *flusher) Unwrap() http.ResponseWriter { return f.ResponseWriter }

// missing is the answer to a request that names no app, in Dapr's words: of its
// own packages it knows that the method is unknown.
func missing(grpc bool, target string) h1.Reply {
	e := invoke.TargetMissing()
	if !grpc {
		return render(false, "", e)
	}
	text := "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"
	if strings.HasPrefix(target, "/dapr.proto.runtime.") || strings.HasPrefix(target, "/dapr.proto.internals.") {
		text = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"
	}
	return grpcReply(grpcUnknown, text, e)
}

// tokenDenied is Dapr's answer to a request without the API token.
func tokenDenied(a *ask) h1.Reply {
	e := &apperr.Error{Reason: apperr.TokenDenied, What: "invalid api token", Reached: apperr.ReachedNo}
	if !a.isGRPC() {
		return plain(e)
	}
	why := "authentication error: api token mismatch"
	if a.token == "" {
		why = "missing api token in request metadata"
	}
	return grpcReply(grpcUnauthenticated, "Unauthorized", e, rpcstatus.ErrorInfo("Unauthorized", daprerr.Domain,
		map[string]string{"http.code": strconv.Itoa(http.StatusUnauthorized), "http.error_message": why}))
}

const fieldGRPCStatus = "Grpc-Status"

// grpcCode is the code of a reply that grpcReply has made.
func grpcCode(fields invoke.Fields) int {
	code, err := strconv.Atoi(fields.Get(fieldGRPCStatus))
	if err != nil {
		return grpcUnknown
	}
	return code
}
