package h2

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// ServeHTTP has h answer s as it would a request of net/http's own server, with
// Flush, trailers and the controls of http.ResponseController that concern
// reading. A handler that panics resets the exchange; log, which may be nil,
// gets why.
func ServeHTTP(ctx context.Context, s *Stream, h http.Handler, log *slog.Logger) {
	r, err := newRequest(ctx, s)
	if err != nil {
		_ = s.Reply(http.StatusBadRequest, nil, nil) // a client that is gone cannot be told
		return
	}
	w := &responseWriter{s: s, r: r, header: make(http.Header)}
	defer func() {
		v := recover()
		if v == nil {
			w.finish()
			return
		}
		s.Reset(http2.ErrCodeInternal)
		if v != http.ErrAbortHandler && log != nil { //nolint:errorlint // a panic's value
			log.Error("a handler panicked", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	h.ServeHTTP(w, r)
}

// newRequest is s as net/http has it.
func newRequest(ctx context.Context, s *Stream) (*http.Request, error) {
	r := &http.Request{
		Method: s.Method(), Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header, len(s.Fields())),
		Host: s.Authority(), RequestURI: s.Path(), RemoteAddr: s.Remote(), Body: http.NoBody,
	}
	var err error
	if s.Method() == http.MethodConnect {
		r.URL, r.RequestURI = &url.URL{Host: r.Host}, r.Host
	} else if r.URL, err = url.ParseRequestURI(s.Path()); err != nil {
		return nil, err
	}
	for _, f := range s.Fields() {
		name := http.CanonicalHeaderKey(f.Name)
		switch name {
		case "Host":
			continue
		case "Trailer":
			announce(r, f.Value)
			continue
		}
		r.Header[name] = append(r.Header[name], f.Value)
	}
	if cookies := r.Header["Cookie"]; len(cookies) > 1 {
		r.Header["Cookie"] = []string{strings.Join(cookies, "; ")} // RFC 9113 §8.2.3
	}
	if body := s.Body(); body != nil {
		r.Body, r.ContentLength = &requestBody{body, r}, s.Length()
	}
	return r.WithContext(ctx), nil
}

func announce(r *http.Request, names string) {
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.Trim(name, " \t"); name != "" {
			if r.Trailer == nil {
				r.Trailer = make(http.Header)
			}
			r.Trailer[http.CanonicalHeaderKey(name)] = nil
		}
	}
}

// A requestBody fills the request's trailers in.
type requestBody struct {
	invoke.Body
	r *http.Request
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err == io.EOF { //nolint:errorlint // an error that wraps EOF is no end
		for _, f := range b.Trailers() {
			name := http.CanonicalHeaderKey(f.Name)
			if _, announced := b.r.Trailer[name]; announced {
				b.r.Trailer[name] = append(b.r.Trailer[name], f.Value)
			}
		}
	}
	return n, err
}

// A responseWriter keeps the beginning of an answer until it is long enough,
// flushed or complete, so that a short one is one write.
type responseWriter struct {
	s       *Stream
	r       *http.Request
	header  http.Header
	status  int // 0: not said
	head    invoke.Fields
	length  int64
	sent    bool
	buf     []byte
	written int64
	failed  error
}

// keptSize is how much of an answer is kept back.
const keptSize = 4 << 10

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	switch {
	case w.status != 0:
		return
	case status >= 100 && status < 200:
		_ = w.s.Informational(status, fieldsOf(w.header, nil)) // what fails, fails the next write
		return
	}
	w.status, w.length = status, -1
	if n, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
		w.length = n
	}
	if _, said := w.header["Date"]; !said {
		w.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	w.head = fieldsOf(w.header, w.trailerNames())
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.failed != nil {
		return 0, w.failed
	}
	if w.bodiless() {
		if w.r.Method == http.MethodHead {
			return len(p), nil
		}
		return 0, http.ErrBodyNotAllowed
	}
	if w.written += int64(len(p)); w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength
	}
	if len(w.buf)+len(p) <= keptSize {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if len(w.buf) > 0 {
		w.emit(w.buf, false)
		w.buf = w.buf[:0]
	}
	if w.failed == nil {
		w.emit(p, false)
	}
	if w.failed != nil {
		return 0, w.failed
	}
	return len(p), nil
}

// WriteString is Write.
func (w *responseWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

func (w *responseWriter) bodiless() bool {
	return w.r.Method == http.MethodHead || w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

// Flush sends what there is.
func (w *responseWriter) Flush() { _ = w.FlushError() }

// FlushError is Flush that says what failed.
func (w *responseWriter) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.failed == nil && (!w.sent || len(w.buf) > 0) {
		w.emit(w.buf, false)
		w.buf = w.buf[:0]
	}
	return w.failed
}

// SetReadDeadline ends the reading of the body if the deadline has passed.
// Later ones are not supported.
func (w *responseWriter) SetReadDeadline(deadline time.Time) error {
	if deadline.IsZero() {
		return nil
	}
	if time.Until(deadline) > 0 {
		return errors.ErrUnsupported
	}
	return w.r.Body.Close()
}

// EnableFullDuplex does nothing: HTTP/2 has nothing else.
func (w *responseWriter) EnableFullDuplex() error { return nil }

// finish ends the answer.
func (w *responseWriter) finish() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.sent && w.length < 0 && !w.bodiless() && len(w.trailers()) == 0 {
		w.length = int64(len(w.buf))
	}
	if w.failed == nil {
		w.emit(w.buf, true)
	}
}

// emit sends data, with the head before it if that has not been sent.
func (w *responseWriter) emit(data []byte, end bool) {
	m := message{data: data, end: end}
	if end {
		m.trailers = w.trailers()
	}
	if w.sent {
		w.failed = w.s.put(&m)
		return
	}
	w.sent = true
	_, typed := w.header["Content-Type"]
	if _, encoded := w.header["Content-Encoding"]; !typed && !encoded && len(data) > 0 {
		w.head.Add("Content-Type", http.DetectContentType(data))
	}
	w.failed = w.s.sayHead(&answerHead{w.status, w.head, w.length}, &m)
}

// trailerNames are the lines that are announced to come behind the body.
func (w *responseWriter) trailerNames() map[string]bool {
	var names map[string]bool
	for _, line := range w.header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.Trim(name, " \t"); name != "" {
				if names == nil {
					names = make(map[string]bool)
				}
				names[http.CanonicalHeaderKey(name)] = true
			}
		}
	}
	return names
}

// trailers are the lines behind the body.
func (w *responseWriter) trailers() invoke.Fields {
	names := w.trailerNames()
	var fields invoke.Fields
	for _, name := range slices.Sorted(maps.Keys(w.header)) {
		plain, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
		if !prefixed && !names[name] {
			continue
		}
		for _, value := range w.header[name] {
			fields.Add(plain, value)
		}
	}
	return sendable(fields)
}

// fieldsOf are the lines of h but those called but, names in order.
func fieldsOf(h http.Header, but map[string]bool) invoke.Fields {
	fields := make(invoke.Fields, 0, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if but[name] || strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		for _, value := range h[name] {
			fields.Add(name, value)
		}
	}
	return sendable(fields)
}
