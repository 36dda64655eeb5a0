package httpapi

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A Served is one request at a door, once it is over. Its strings may be parts
// of a whole head: whoever keeps one copies it.
type Served struct {
	Verb string
	// Target is the request target as it came.
	Target string
	// Status is what was answered; 0 if nothing was.
	Status int
	// RequestSize is the length of the body as the client announced it, 0 if it
	// did not. Size is how many bytes of the answer's body were written.
	RequestSize, Size int64
	Took              time.Duration
	// GRPC is true for a gRPC exchange, whose own status is in its trailers.
	GRPC bool
}

// fieldTrace is the field that names a trace (W3C Trace Context).
const fieldTrace = "Traceparent"

// traced adds to the reply of a call that failed which trace it belongs to.
func traced(r h1.Reply, c *invoke.Call) h1.Reply {
	if c.Trace != "" {
		r.Fields.Add(fieldTrace, c.Trace)
	}
	return r
}

// failed tells which error an answer of the door's own is about. body is all of
// it.
func (s *Server) failed(body []byte) {
	if s.cfg.Failed == nil {
		return
	}
	if rest, found := bytes.CutPrefix(body, []byte(`{"errorCode":"`)); found {
		code, _, _ := bytes.Cut(rest, []byte(`"`))
		s.cfg.Failed(string(code))
	}
}

// A watched writer tells what is answered, and who may add to it.
type watched struct {
	http.ResponseWriter
	d     *door
	r     *http.Request
	began time.Time
	code  int
	size  int64
	call  bool             // the answer is a call's, however it ended
	done  func(status int) // nil unless the answer is the door's own
}

func newWatched(d *door, w http.ResponseWriter, r *http.Request) *watched {
	return &watched{ResponseWriter: w, d: d, r: r, began: time.Now()}
}

// WriteHeader asks about the answer's head. A call's answer says its trace
// already where calls are traced.
func (w *watched) WriteHeader(code int) {
	if w.code == 0 && code >= http.StatusOK {
		w.code = code
		if h := w.Header(); w.d.cfg.Own != nil && !w.call && !saysTrace(h) {
			w.done = w.d.cfg.Own(w.r, w.began, h)
		}
	}
	w.ResponseWriter.WriteHeader(code)
}

// saysTrace reports whether h names a trace. Names keep the case that an app
// gave them.
func saysTrace(h http.Header) bool {
	for name := range h {
		if strings.EqualFold(name, fieldTrace) {
			return true
		}
	}
	return false
}

// Hijack gives the connection away to become a tunnel.
func (w *watched) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.code = http.StatusSwitchingProtocols
	}
	return c, rw, err
}

func (w *watched) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.size == 0 && w.Header().Get(invoke.FieldError) != "" {
		w.d.failed(p)
	}
	n, err := w.ResponseWriter.Write(p)
	w.size += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the writer underneath.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// end tells that the request is over, also by a panic.
func (w *watched) end(grpc bool) {
	if w.done != nil {
		w.done(w.code)
	}
	if w.d.cfg.Served != nil {
		w.d.cfg.Served(Served{
			Verb: w.r.Method, Target: w.r.RequestURI, Status: w.code, RequestSize: max(w.r.ContentLength, 0),
			Size: w.size, Took: time.Since(w.began), GRPC: grpc,
		})
	}
}
