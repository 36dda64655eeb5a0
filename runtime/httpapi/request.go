package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// invoke turns r into a call and writes its answer.
func (d *door) invoke(w http.ResponseWriter, r *http.Request, a *ask) {
	grpc := a.isGRPC()
	if r.Method == http.MethodConnect {
		write(w, render(grpc, "", &apperr.Error{
			Reason: apperr.MethodRefused, What: "the method CONNECT cannot be sent to an app", Dapr: "invalid HTTP verb",
			Cause: "CONNECT opens a tunnel and is not for apps", Reached: apperr.ReachedNo,
		}))
		return
	}
	id, path, ok := route(a)
	if !ok {
		write(w, missing(grpc, a.target))
		return
	}
	noteTarget(w, id)
	target, err := invoke.ParseTarget(id)
	if err != nil {
		write(w, render(grpc, id, apperr.From(err)))
		return
	}
	if !grpc && d.cfg.MaxCallBody > 0 {
		if r.ContentLength > d.cfg.MaxCallBody {
			w.Header().Set("Connection", "close") // the body is not read
			write(w, render(false, id, d.tooLarge(apperr.ReachedNo)))
			return
		}
		r.Body = boundedBody{&bounded{from: r.Body, left: d.cfg.MaxCallBody}, r.Body}
	}
	ctx, cancel, e := deadline(r.Context(), a)
	if e != nil {
		write(w, render(grpc, id, e))
		return
	}
	defer cancel()
	x := newExchange(d, w, r, grpc)
	defer x.finish()
	call := x.call(target, path)
	answer, err := d.cfg.Invoke.Serve(ctx, call)
	x.answered()
	if err != nil {
		if x.body != nil && r.ProtoMajor == 1 && x.body.unread() && !x.restIsShort() {
			w.Header().Set("Connection", "close")
		}
		write(w, traced(render(grpc, id, d.blame(apperr.From(err), x.badBody())), call))
		return
	}
	noteRelayed(w)
	if answer.Status == http.StatusSwitchingProtocols {
		x.switchProtocols(ctx, answer)
		return
	}
	x.relay(answer)
}

// badBody is what was wrong with the body as the client sent it, or nil.
func (x *exchange) badBody() error {
	if x.body != nil && x.r.Context().Err() == nil {
		return x.body.broken()
	}
	return nil
}

// blame is e, unless the call failed because the request's body was bad.
func (s *Server) blame(e *apperr.Error, bad error) *apperr.Error {
	switch {
	case bad == nil:
		return e
	case errors.Is(bad, errTooLarge):
		return s.tooLarge(e.Reached)
	}
	return &apperr.Error{
		Reason: apperr.Usage, What: "the request's body ends in the middle", Cause: bad.Error(),
		Reached: e.Reached, Instance: e.Instance, Err: e,
	}
}

// tooLarge is a call whose body has more than is allowed.
func (s *Server) tooLarge(reached apperr.Reached) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.BodyTooLarge, What: "the request's body is too large", Dapr: errTooLarge.Error(),
		Cause:   fmt.Sprintf("--max-body-size allows %d bytes", s.cfg.MaxCallBody),
		Reached: reached,
	}
}

// boundedBody is a request's body with a bound.
type boundedBody struct {
	io.Reader
	io.Closer
}

// deadline is ctx, ended after the time the client allows.
func deadline(ctx context.Context, a *ask) (context.Context, context.CancelFunc, *apperr.Error) {
	allowed, e := a.timeLeft()
	if e != nil {
		return nil, nil, e
	}
	if allowed == 0 {
		ctx, cancel := context.WithCancel(ctx)
		return ctx, cancel, nil
	}
	ctx, cancel := context.WithTimeout(ctx, allowed)
	return ctx, cancel, nil
}

// timeLeft is the time the client allows for the call; 0 for any.
func (a *ask) timeLeft() (allowed time.Duration, e *apperr.Error) {
	if a.timeout != "" {
		d, err := time.ParseDuration(a.timeout)
		if err != nil || d <= 0 {
			return 0, &apperr.Error{
				Reason: apperr.Usage, What: "the field pillion-timeout is no duration: " + printable(a.timeout),
				Hint: "write it like 5s or 250ms", Reached: apperr.ReachedNo,
			}
		}
		allowed = d
	}
	if a.isGRPC() {
		if d, ok := rpc.ParseTimeout(a.grpcTimeout); ok && (allowed == 0 || d < allowed) {
			allowed = d
		}
	}
	return allowed, nil
}

// An exchange is one request under way, between net/http and invoke.
type exchange struct {
	d    *door
	w    http.ResponseWriter
	r    *http.Request
	rc   *http.ResponseController
	grpc bool
	body *requestBody
	// upgrade is what the client offered to switch to; "" for nothing.
	upgrade string

	mu   sync.Mutex // guards what follows, and w while the call runs
	done bool       // no more 1xx answers
}

func newExchange(d *door, w http.ResponseWriter, r *http.Request, grpc bool) *exchange {
	return &exchange{d: d, w: w, r: r, rc: http.NewResponseController(w), grpc: grpc}
}

// call makes the Call of the request.
func (x *exchange) call(target invoke.Target, path string) *invoke.Call {
	r := x.r
	c := &invoke.Call{
		Target: target, Verb: r.Method, Path: path, Asked: r.RequestURI, Major: min(r.ProtoMajor, 2),
		Host: r.Host, Remote: r.RemoteAddr, Fields: x.d.requestFields(r),
		Expect: strings.EqualFold(r.Header.Get("Expect"), "100-continue") && r.ProtoAtLeast(1, 1),
	}
	if r.ProtoAtLeast(1, 1) {
		c.Informational = x.informational
	}
	if r.ProtoMajor == 1 && listed(r.Header["Connection"], "upgrade") {
		x.upgrade = upgradeOf(strings.Join(r.Header["Upgrade"], ", "))
		c.Upgrade = x.upgrade
	}
	if r.Body != nil && r.Body != http.NoBody {
		if r.ProtoMajor == 1 {
			_ = x.rc.EnableFullDuplex() // without it the body is read before the answer, as far as it is short
		}
		x.body = newRequestBody(x)
		c.Body, c.Length = x.body, r.ContentLength
	} else {
		c.Expect = false
	}
	return c
}

// listed reports whether a comma-separated list holds name.
func listed(values []string, name string) bool {
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.Trim(item, " \t"), name) {
				return true
			}
		}
	}
	return false
}

// requestFields are r's fields, names in order, without those that ended here.
func (s *Server) requestFields(r *http.Request) invoke.Fields {
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		if name != "Content-Length" && name != "Expect" && !s.endsHere(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	fields := make(invoke.Fields, 0, len(names)+8) // room for what identifies the caller
	for _, name := range names {
		for _, value := range r.Header[name] {
			fields.Add(name, value)
		}
	}
	if len(r.Trailer) > 0 {
		announced := make([]string, 0, len(r.Trailer))
		for name := range r.Trailer {
			announced = append(announced, name)
		}
		slices.Sort(announced)
		fields.Add("Trailer", strings.Join(announced, ", "))
	}
	return fields
}

// informational writes a 1xx answer. 100 is written by the body's first Read
// if the client waits for it.
func (x *exchange) informational(status int, fields invoke.Fields) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done || status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
		return nil
	}
	if status == http.StatusContinue && x.r.Header.Get("Expect") != "" {
		return nil
	}
	h := x.w.Header()
	kept := h.Clone()
	clear(h)
	addFields(h, fields)
	x.w.WriteHeader(status)
	clear(h)
	maps.Copy(h, kept)
	return nil
}

// answered ends the time of 1xx answers.
func (x *exchange) answered() {
	x.mu.Lock()
	x.done = true
	x.mu.Unlock()
}

// finish makes sure that nobody reads the request once net/http may use its
// connection for the next one.
func (x *exchange) finish() {
	if x.body != nil {
		x.body.finish()
	}
}

// A requestBody is a request's body as a call has it. Unlike net/http's it may
// be closed while it is read, which ends the reading.
type requestBody struct {
	x *exchange

	mu      sync.Mutex // guards what follows
	idle    sync.Cond  // reading has become false
	reading bool
	ended   bool // io.EOF was read
	failed  error
	closed  bool
	over    bool // the handler is returning: net/http's objects are gone
}

func newRequestBody(x *exchange) *requestBody {
	b := &requestBody{x: x}
	b.idle.L = &b.mu
	return b
}

var errBodyClosed = errors.New("the request's body is closed")

func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	switch {
	case b.ended:
		b.mu.Unlock()
		return 0, io.EOF
	case b.closed:
		b.mu.Unlock()
		return 0, errBodyClosed
	}
	b.reading = true
	b.mu.Unlock()
	n, err := b.x.r.Body.Read(p)
	b.mu.Lock()
	b.reading = false
	b.ended = err == io.EOF
	switch {
	case err == nil || b.ended:
	case b.closed:
		n, err = 0, errBodyClosed
	default:
		b.failed = err
	}
	b.idle.Broadcast()
	b.mu.Unlock()
	return n, err
}

// broken is what was wrong with the body as the client sent it, or nil.
func (b *requestBody) broken() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// Close ends a Read under way. The connection is then good for the rest of
// the answer only: what the client still sends belongs to this request.
func (b *requestBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.over {
		return nil
	}
	b.closed = true
	if !b.reading {
		return nil
	}
	if c := connOf(b.x.r); c != nil && b.x.r.ProtoMajor == 1 {
		c.stopReading()
		return nil
	}
	return b.x.rc.SetReadDeadline(time.Unix(1, 0)) // of the stream
}

func (b *requestBody) finish() {
	_ = b.Close() // the exchange is over
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.reading {
		b.idle.Wait()
	}
	b.over = true
	if !b.ended && b.failed == nil {
		b.x.readRest()
	}
}

// maxRest is how much of a body that nobody wants is read, so that its
// connection can be used again.
const maxRest = 256 << 10

// readRest reads what is left of an HTTP/1.1 request whose answer has been
// given, or ends the connection behind it. net/http, which does it otherwise,
// gives a connection in full duplex up then.
func (x *exchange) readRest() {
	c := connOf(x.r)
	if c == nil || x.r.ProtoMajor != 1 || c.ended.Load() {
		return
	}
	if err := x.rc.Flush(); err != nil || !x.restIsShort() {
		c.stopReading()
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))                       // if it is closed there is nothing to read
	if _, err := io.CopyN(io.Discard, x.r.Body, maxRest+1); err != io.EOF { //nolint:errorlint // as io.Reader gives it
		c.stopReading()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
}

// restIsShort reports whether a body that is not read need not end the
// connection. A client that waits for 100 Continue does not send it.
func (x *exchange) restIsShort() bool {
	return x.r.ContentLength >= 0 && x.r.ContentLength <= maxRest && x.r.Header.Get("Expect") == ""
}

// unread reports whether there is a body of which something may be left.
func (b *requestBody) unread() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.ended
}

// Trailers are the client's, once the body has been read.
func (b *requestBody) Trailers() invoke.Fields {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended || b.over {
		return nil
	}
	return sortedFields(b.x.r.Trailer)
}

func sortedFields(h http.Header) invoke.Fields {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	var fields invoke.Fields
	for _, name := range names {
		for _, value := range h[name] {
			fields.Add(name, value)
		}
	}
	return fields
}
