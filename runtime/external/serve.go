package external

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Serve implements invoke.Handler: it carries c to the host of its target. The
// app's token, its identity and what the mesh adds do not leave.
func (h *Hosts) Serve(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
	to, base := h.raw, c.Target.URL
	if named := h.lookUp(c.Target.Given); named != nil {
		to, base = named, named.base
	}
	if to.unusable != nil || base == "" {
		closeBody(c)
		if to.unusable != nil {
			return nil, to.unusable
		}
		return nil, &apperr.Error{Reason: apperr.TargetInvalid, What: c.Target.Given + " is no host outside the mesh", Reached: apperr.ReachedNo}
	}
	x := &exchange{to: to, call: c}
	answer, err := x.run(ctx, place(base, c.Path))
	if err != nil {
		closeBody(c)
		return nil, err
	}
	return answer, nil
}

func closeBody(c *invoke.Call) {
	if c.Body != nil {
		_ = c.Body.Close() // the call's own error is the one to report
	}
}

// An exchange is one call on its way to a host, and on to those it redirects
// to.
type exchange struct {
	to   *host
	call *invoke.Call
	// foreign is true once the call has been sent to another host than it was
	// for: what was meant for the first one only stays behind.
	foreign bool

	wrote atomic.Bool // a connection was there to be written on
	told  atomic.Bool
	sent  time.Time // when the request was handed to net/http
}

func (x *exchange) run(ctx context.Context, to location) (*invoke.Answer, *apperr.Error) {
	first := to
	r := request{verb: x.call.Verb, body: x.body()}
	for followed := 0; ; followed++ {
		resp, err := x.send(ctx, to, r)
		if err != nil {
			return nil, x.failure(ctx, to, err)
		}
		next, again, ok := x.redirect(resp, to, r)
		if !ok {
			return x.answer(resp), nil
		}
		discard(resp)
		if followed == maxRedirects {
			return nil, x.problem(apperr.ProtocolError, to, "it redirects without end: stopped after 10")
		}
		to, r = next, again
		x.foreign = x.foreign || !next.sameHost(first)
	}
}

// A request is what is sent to one location.
type request struct {
	verb string
	body body
}

// A body is what can be read of the call's body for one request.
type body struct {
	data   []byte // if whole
	whole  bool   // it can be sent again
	stream invoke.Body
	length int64
}

func (x *exchange) body() body {
	c := x.call
	if c.Body == nil || c.Length == 0 {
		return body{whole: true}
	}
	if data, ok := invoke.Whole(c.Body); ok {
		return body{data: data, whole: true, length: int64(len(data))}
	}
	return body{stream: c.Body, length: c.Length}
}

// send makes one request, and waits for its answer's head.
func (x *exchange) send(ctx context.Context, to location, r request) (*http.Response, error) {
	req := &http.Request{
		Method: r.verb, URL: to.url(), Host: to.host, Header: x.header(r), ContentLength: r.body.length,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host // a resource may say so
		req.Header.Del("Host")
	}
	switch {
	case r.body.stream != nil:
		reader := &sentBody{Body: r.body.stream, req: req}
		req.Body = reader
		reader.announce(x.call.Fields)
	case len(r.body.data) > 0:
		req.Body = io.NopCloser(&dataReader{rest: r.body.data})
	}
	if to.scheme == "https" {
		x.to.load()
	}
	x.sent = time.Now()
	return x.transport(to).RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, x.trace())))
}

// transport is the one that speaks what the call needs.
func (x *exchange) transport(to location) *http.Transport {
	switch {
	case x.call.Upgrade != "":
		return x.to.one
	case isGRPC(x.call) && to.scheme == "http":
		return x.to.grpc
	default:
		return x.to.web
	}
}

func isGRPC(c *invoke.Call) bool {
	return c.Major == 2 && strings.HasPrefix(c.Fields.Get("Content-Type"), "application/grpc")
}

// trace tells the call's owner how far it is.
func (x *exchange) trace() *httptrace.ClientTrace {
	c := x.call
	t := &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { x.wrote.Store(true) },
		WroteHeaders: func() {
			if !x.told.Swap(true) && c.Reached != nil {
				c.Reached()
			}
		},
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if code == http.StatusContinue || c.Informational == nil {
				return nil // the body's first Read is what says 100
			}
			return c.Informational(code, fieldsOf(http.Header(header), nil))
		},
	}
	if c.Timing != nil {
		x.measure(t, c.Timing)
	}
	return t
}

// dataReader reads bytes that net/http shall not look into.
type dataReader struct{ rest []byte }

func (r *dataReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// A sentBody is the call's body as net/http reads it.
type sentBody struct {
	invoke.Body
	req *http.Request
}

// announce names the trailers that may follow: net/http sends no others.
func (b *sentBody) announce(fields invoke.Fields) {
	for _, list := range fields.Values("Trailer") {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(textproto.TrimString(name))
			if name == "" || isKept(name) {
				continue
			}
			if b.req.Trailer == nil {
				b.req.Trailer = http.Header{}
				b.req.ContentLength = -1 // trailers are for chunked bodies only
			}
			b.req.Trailer[name] = nil
		}
	}
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err == io.EOF { //nolint:errorlint // an error that wraps EOF is no end
		for _, f := range b.Trailers() {
			name := http.CanonicalHeaderKey(f.Name)
			if _, announced := b.req.Trailer[name]; announced {
				b.req.Trailer[name] = append(b.req.Trailer[name], f.Value)
			}
		}
	}
	return n, err
}
