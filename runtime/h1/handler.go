package h1

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// ServeHTTP has h answer x as it would a request of net/http's own server, where
// the answer is one piece: what h writes is kept until it returns or flushes,
// and nothing can be added after that. The writer has no other of net/http's
// abilities.
func ServeHTTP(ctx context.Context, x *Exchange, h http.Handler) {
	r, err := newRequest(ctx, x)
	if err != nil {
		_ = x.Reply(Reply{Status: http.StatusBadRequest}) // a client that is gone cannot be told
		return
	}
	w := &responseWriter{x: x, header: make(http.Header)}
	h.ServeHTTP(w, r)
	w.Flush()
}

// newRequest is x as net/http has it.
func newRequest(ctx context.Context, x *Exchange) (*http.Request, error) {
	r := &http.Request{
		Method: x.Head.Verb, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header, len(x.Head.Fields)),
		Host: x.Head.Host, RequestURI: x.Head.Target, RemoteAddr: x.Call.Remote, Body: http.NoBody, Close: x.Head.Close,
	}
	if x.Head.Old {
		r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	}
	var err error
	if r.URL, err = url.ParseRequestURI(r.RequestURI); err != nil {
		return nil, err
	}
	for _, f := range x.Call.Fields {
		name := http.CanonicalHeaderKey(f.Name)
		r.Header[name] = append(r.Header[name], f.Value)
	}
	if body := x.Call.Body; body != nil {
		r.Body, r.ContentLength = body, x.Head.Length
	}
	return r.WithContext(ctx), nil
}

// A responseWriter keeps an answer until it is complete.
type responseWriter struct {
	x      *Exchange
	header http.Header
	status int // 0: not said
	body   []byte
	sent   bool
}

var errSent = errors.New("the answer has been sent")

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
	}
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.sent {
		return 0, errSent
	}
	w.WriteHeader(http.StatusOK)
	w.body = append(w.body, p...)
	return len(p), nil
}

// Flush sends the answer; there is no more of it.
func (w *responseWriter) Flush() {
	if w.sent {
		return
	}
	w.sent = true
	w.WriteHeader(http.StatusOK)
	var fields invoke.Fields
	for _, name := range slices.Sorted(maps.Keys(w.header)) {
		switch name {
		case "Content-Length": // as long as the body is
		case "Connection":
			w.x.keep = w.x.keep && w.header.Get(name) != "close"
		default:
			for _, value := range w.header[name] {
				fields.Add(name, value)
			}
		}
	}
	if !fields.Has("Date") {
		fields.Add("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	_ = w.x.Reply(Reply{Status: w.status, Fields: fields, Body: w.body}) // a client that is gone cannot be told
}
