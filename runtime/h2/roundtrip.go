package h2

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// continueWait is how long a request waits for 100 before its body goes out.
const continueWait = time.Second

// A Request is what a connection adds to a call.
type Request struct {
	// Scheme and Authority are the server's. Required.
	Scheme, Authority string
	// Extra are further lines, behind the call's.
	Extra invoke.Fields
	// Wrote, if not nil, is called once the head is on its way: from then on
	// the server may see the request.
	Wrote func()
	// Ended, if not nil, is called once the answer's body has been read to its
	// end, has failed or was closed. It is not called without an answer.
	Ended func()
}

// A BodyError is the failure of a call's own body, because of which its request
// was given up.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return "the request's body: " + e.Err.Error() }

// Unwrap is the body's error.
func (e *BodyError) Unwrap() error { return e.Err }

// An exchange is a stream as a client has it.
type exchange struct {
	stream
	cl       *Client
	ctx      context.Context //nolint:containedctx // the exchange's own
	call     *invoke.Call
	req      *Request
	body     answerBody
	answer   invoke.Answer
	watch    callctx.Watch
	uploads  bool // the body goes out on its own
	answered bool // the reader's: the final head has come

	// The connection's lock guards what follows.
	placed bool // the reserved place has been given up or used
	opened bool // it is one of the connection's streams

	// The inbox's lock guards what follows.
	final   head
	hasHead bool
	infos   []head
	go100   bool // the body may go out

	once sync.Once // the end
}

// RoundTrip carries c out on a place that was reserved. The answer is there as
// soon as its head is, while the body may still go out. On error c's body is
// closed and the error is an *Error with the proof of how far it came.
func (cl *Client) RoundTrip(ctx context.Context, c *invoke.Call, req *Request) (*invoke.Answer, error) {
	if err := checkCall(c, req); err != nil {
		cl.Release()
		closeBody(c)
		return nil, notWritten(err)
	}
	x := &exchange{cl: cl, ctx: ctx, call: c, req: req}
	x.init(cl.conn, x)
	x.body = answerBody{bodyOf{s: &x.stream}, x}
	x.watch = callctx.OnEnd(ctx, x.cancel)
	if err := x.begin(); err != nil && !x.isOpen() {
		return nil, x.failed(err)
	}
	// What stopped the sending is what the waiting ends with: an answer that
	// came early, or the best proof there is.
	if req.Wrote != nil {
		req.Wrote()
	}
	if err := x.await(); err != nil {
		return nil, x.failed(err)
	}
	return x.reply(), nil
}

// begin sends the head, with the body if it is all there.
func (x *exchange) begin() error {
	c := x.call
	rest, trailers, whole := invoke.Complete(c.Body)
	m := message{open: x.open, head: x.writeHead}
	if whole && len(rest) <= gather/2 && (!c.Expect || c.Body == nil) {
		m.data, m.trailers, m.end = rest, sendable(trailers), true
	}
	x.uploads = !m.end
	err := x.send(&m)
	switch {
	case !x.uploads:
		closeBody(c)
	case err == nil:
		go x.upload()
	case x.isOpen():
		x.cl.uploads.Done()
	}
	return err
}

// open gives the exchange its place among the connection's streams. The lock
// is held.
func (x *exchange) open() error {
	cl := x.cl
	x.placed = true
	cl.reserved--
	if err := cl.gone(); err != nil {
		cl.vacancy.Signal()
		return notWritten(err)
	}
	x.id = cl.next
	if cl.next += 2; cl.next > maxWindow {
		cl.leaving, cl.parting = true, true // no more numbers
	}
	x.opened = true
	if x.uploads {
		cl.uploads.Add(1) // while Run cannot have ended
	}
	cl.open(&x.stream)
	return nil
}

func (x *exchange) isOpen() bool {
	x.cl.mu.Lock()
	defer x.cl.mu.Unlock()
	return x.opened
}

func (x *exchange) writeHead(e *encoder) {
	c, r := x.call, x.req
	e.pseudo(":method", c.Verb)
	e.pseudo(":scheme", r.Scheme)
	e.pseudo(":authority", r.Authority)
	e.field(":path", c.Path)
	e.fields(c.Fields, invoke.Nominated(c.Fields))
	e.fields(r.Extra, nil)
	if c.Expect && c.Body != nil {
		e.field("expect", "100-continue")
	}
	if strings.HasPrefix(c.Fields.Get("content-type"), "application/grpc") {
		e.field("te", "trailers") // gRPC servers demand it
	}
	if c.Body != nil && c.Length >= 0 {
		e.field("content-length", strconv.FormatInt(c.Length, 10))
	}
}

// upload sends the body.
func (x *exchange) upload() {
	defer x.cl.uploads.Done()
	defer closeBody(x.call)
	if x.call.Expect && !x.mayGo() {
		return
	}
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	for {
		m, err := nextPiece(x.call.Body, buf[:])
		if err != nil {
			e := &Error{Code: http2.ErrCodeCancel, Err: &BodyError{err}}
			x.reset(http2.ErrCodeCancel, e)
			x.fail(e)
			return
		}
		if x.send(&m) != nil || m.end {
			return // the exchange knows why
		}
	}
}

// nextPiece reads a piece of body, with the end behind it if that is known.
func nextPiece(body invoke.Body, buf []byte) (message, error) {
	n, err := body.Read(buf)
	m := message{data: buf[:n]}
	switch {
	case err == io.EOF: //nolint:errorlint // an error that wraps EOF is no end
		m.trailers, m.end = sendable(body.Trailers()), true
		return m, nil
	case err != nil:
		return m, err
	}
	if rest, trailers, ok := invoke.Complete(body); ok && len(rest) == 0 {
		m.trailers, m.end = sendable(trailers), true
	}
	return m, nil
}

// mayGo waits until the server wants the body, or says nothing for long.
func (x *exchange) mayGo() bool {
	timer := time.AfterFunc(continueWait, func() {
		x.in.mu.Lock()
		x.go100 = true
		x.in.changed.Broadcast()
		x.in.mu.Unlock()
	})
	defer timer.Stop()
	x.in.mu.Lock()
	defer x.in.mu.Unlock()
	for !x.go100 && !x.hasHead && x.in.err == nil && !x.in.closed {
		x.in.changed.Wait()
	}
	if x.hasHead && !x.go100 && x.final.status >= 300 {
		return false // it has refused the body, and asking the client for it would say otherwise
	}
	// Whoever answers well without asking for the body may still read it.
	return x.in.err == nil && !x.in.closed
}

// await waits for the answer's head, and passes 1xx answers on.
func (x *exchange) await() error {
	in := &x.in
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		switch {
		case len(x.infos) > 0:
			h := x.infos[0]
			x.infos = x.infos[1:]
			if x.call.Informational == nil {
				continue
			}
			in.mu.Unlock()
			err := x.call.Informational(h.status, h.fields)
			in.mu.Lock()
			if err != nil {
				return &Error{Code: http2.ErrCodeCancel, Err: err}
			}
		case x.hasHead:
			return nil
		case in.err != nil:
			return in.err
		default:
			in.changed.Wait()
		}
	}
}

// info keeps a 1xx answer; the reader calls it.
func (x *exchange) info(h head) {
	x.in.mu.Lock()
	defer x.in.mu.Unlock()
	if h.status == 100 {
		x.go100 = true
	}
	if len(x.infos) < infoLimit {
		x.infos = append(x.infos, h)
	}
}

// gotHead notes the final answer; the reader calls it.
func (x *exchange) gotHead(h head) {
	x.in.mu.Lock()
	defer x.in.mu.Unlock()
	x.final, x.hasHead = h, true
	if x.call.Verb != "HEAD" && h.status != 304 {
		x.in.length = h.length
	}
}

// reply is the answer.
func (x *exchange) reply() *invoke.Answer {
	x.answer = invoke.Answer{
		Status: x.final.status, Major: 2, Fields: x.final.fields, Length: x.final.length, Body: &x.body,
	}
	invoke.StripHopByHop(&x.answer.Fields)
	return &x.answer
}

func (x *exchange) wake() { x.in.wake() }

func (x *exchange) broken(*Error) {}

func (x *exchange) headless() bool { return !x.answered }

// cancel gives the exchange up because its context has ended.
func (x *exchange) cancel() {
	e := &Error{Code: http2.ErrCodeCancel, Err: callctx.Cause(x.ctx)}
	x.c.mu.Lock()
	e.Evidence.NotWritten = x.id == 0 || x.start >= x.c.taken
	x.c.mu.Unlock()
	x.reset(http2.ErrCodeCancel, e)
	x.fail(e)
}

// failed ends an exchange that has no answer.
func (x *exchange) failed(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Err: err}
	}
	x.cl.mu.Lock()
	if !x.placed {
		x.cl.reserved--
		x.cl.vacancy.Signal()
	}
	e.Evidence.NotWritten = e.Evidence.NotWritten || !x.opened
	x.cl.mu.Unlock()
	x.watch.Stop()
	x.reset(http2.ErrCodeCancel, e)
	_ = x.body.bodyOf.Close() // it has no error
	x.in.free()
	closeBody(x.call)
	return e
}

// finish is the end of an answer.
func (x *exchange) finish() {
	x.once.Do(func() {
		x.watch.Stop()
		if x.req.Ended != nil {
			x.req.Ended()
		}
	})
}

// An answerBody is an answer's body.
type answerBody struct {
	bodyOf
	x *exchange
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.bodyOf.Read(p)
	if err != nil {
		b.x.ending(err)
	}
	return n, err
}

// ending lets go of an exchange whose answer has ended; a body that still goes
// out keeps it.
func (x *exchange) ending(err error) {
	x.c.mu.Lock()
	over := x.sentEnd || x.stopped != nil
	x.c.mu.Unlock()
	if over || err != io.EOF { //nolint:errorlint // an error that wraps EOF is no end
		x.finish()
	}
}

// Close gives up what has not ended yet.
func (b *answerBody) Close() error {
	x := b.x
	x.reset(http2.ErrCodeCancel, errOver)
	_ = b.bodyOf.Close() // it has no error
	x.in.free()
	if x.uploads {
		closeBody(x.call)
	}
	x.finish()
	return nil
}

func closeBody(c *invoke.Call) {
	if c.Body != nil {
		_ = c.Body.Close() // the call's own error is the one to report
	}
}

// checkCall says whether the call can be sent as it is.
func checkCall(c *invoke.Call, r *Request) error {
	switch {
	case c.Verb == "CONNECT" || !httpguts.ValidHeaderFieldName(c.Verb):
		return errors.New("the method " + strconv.Quote(clip(c.Verb)) + " cannot be sent")
	case !isPath(c.Verb, c.Path):
		return errors.New("the path " + strconv.Quote(clip(c.Path)) + " cannot be sent")
	}
	for _, fields := range [...]invoke.Fields{c.Fields, r.Extra} {
		if bad := checkFields(fields); bad != "" {
			return errors.New("the field " + strconv.Quote(bad) + " cannot be sent")
		}
	}
	return nil
}
