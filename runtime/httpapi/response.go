package httpapi

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// copySize is how much of an answer's body is read at once.
const copySize = 32 << 10

// buffers are of copySize.
var buffers = sync.Pool{New: func() any { b := make([]byte, copySize); return &b }}

// canonical are the names net/http itself looks at in a response; others keep
// the case they came with.
var canonical = map[string]string{
	"content-type": "Content-Type", "content-length": "Content-Length", "date": "Date",
	"trailer": "Trailer", "content-encoding": "Content-Encoding", "etag": "Etag",
}

// addFields adds fields to h as they came.
func addFields(h http.Header, fields invoke.Fields) {
	for _, f := range fields {
		name := f.Name
		if known, ok := canonical[strings.ToLower(name)]; ok {
			name = known
		}
		if strings.EqualFold(name, corsOrigin) && h.Get(corsOrigin) != "" {
			continue // ours says what was allowed
		}
		h[name] = append(h[name], f.Value)
	}
}

// relay writes an answer: its head at once, each piece of the body as it
// comes, and the trailers. If the body ends before its time, so does the
// connection or stream: the client must not take it for complete.
func (x *exchange) relay(a *invoke.Answer) {
	defer func() { _ = a.Body.Close() }()
	if e := unanswerable(a); e != nil {
		write(x.w, render(x.grpc, a.Peer.App(), e))
		return
	}
	h := x.w.Header()
	addFields(h, a.Fields)
	// Nothing is added that the app did not say.
	for _, name := range []string{"Date", "Content-Type"} {
		if _, said := h[name]; !said {
			h[name] = nil
		}
	}
	if a.Length >= 0 && a.Status != http.StatusNoContent {
		h["Content-Length"] = []string{strconv.FormatInt(a.Length, 10)}
	}
	x.w.WriteHeader(a.Status)
	if x.r.Method == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified {
		return
	}
	// A gRPC answer that is only trailers has to stay one frame.
	early := a.Length != 0 && !a.Fields.Has("Grpc-Status")
	if early && x.rc.Flush() != nil {
		return // the client is gone
	}
	x.copyBody(a)
}

func (x *exchange) copyBody(a *invoke.Answer) {
	buf, _ := buffers.Get().(*[]byte) // there is nothing else in it
	defer buffers.Put(buf)
	for {
		n, err := a.Body.Read(*buf)
		if n > 0 {
			if _, err := x.w.Write((*buf)[:n]); err != nil {
				return // the client is gone, or the app said more than it announced
			}
		}
		if err == io.EOF { //nolint:errorlint // an error that wraps EOF is no end
			x.trailers(a.Body.Trailers())
			return
		}
		if err != nil {
			x.cut(a, err)
			return
		}
		if n > 0 && x.rc.Flush() != nil {
			return
		}
	}
}

// cut ends an answer that broke off. A gRPC client is given the status, which
// says more than a reset; nobody else can be told.
func (x *exchange) cut(a *invoke.Answer, err error) {
	x.d.log.Debug("answer broke off", "app", a.Peer.App(), "instance", a.Instance, "err", err)
	if !x.grpc || x.r.ProtoMajor != 2 || a.Length >= 0 {
		panic(http.ErrAbortHandler)
	}
	x.trailers(grpcTrailers(apperr.From(err)))
}

func (x *exchange) trailers(fields invoke.Fields) {
	h := x.w.Header()
	for _, f := range fields {
		h.Add(http.TrailerPrefix+f.Name, f.Value)
	}
}
