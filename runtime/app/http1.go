package app

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A handover is one attempt to give a call to the app.
type handover struct {
	call  *invoke.Call
	token string
	// wrote is called when the first byte has been written.
	wrote func()
	// ended is called once, when the answer's body has ended. It is not called
	// if there is no answer.
	ended func()
}

// repeatable reports whether the method may be carried out twice (RFC 9110
// §9.2.2) and there is no body that has been used up.
func (h *handover) repeatable() bool {
	if h.call.Body != nil || h.call.Upgrade != "" {
		return false
	}
	switch h.call.Verb {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	default:
		return false
	}
}

// A lapseError says how an attempt failed on a connection.
type lapseError struct {
	err error
	// untouched is proof that no byte was written; silent says that no byte of
	// an answer came.
	untouched, silent bool
}

func (e *lapseError) Error() string { return e.err.Error() }
func (e *lapseError) Unwrap() error { return e.err }

// exchange hands the call on over HTTP/1.1. A connection that the app closed
// in the moment we used it is replaced by a new one if not a byte was written,
// or if repeating the call is harmless; nothing else is repeated.
func (p *pool) exchange(ctx context.Context, h *handover) (*invoke.Answer, error) {
	limit := idleLimitStrict
	if h.repeatable() {
		limit = idleLimit
	}
	c, err := p.get(ctx, limit)
	if err != nil {
		return nil, err
	}
	used := c.uses > 0
	idle := time.Since(c.idleSince)
	ans, err := p.attempt(ctx, c, h)
	lapse, lapsed := errors.AsType[*lapseError](err)
	if !used || ctx.Err() != nil || !lapsed || !lapse.silent {
		return ans, err
	}
	p.stale.Add(1)
	p.learn(idle)
	if !lapse.untouched && !h.repeatable() {
		return nil, err
	}
	if c, err = p.get(ctx, 0); err != nil {
		return nil, err
	}
	return p.attempt(ctx, c, h)
}

// attempt makes the exchange on one connection, which it gives back or closes.
func (p *pool) attempt(ctx context.Context, c *conn, h *handover) (*invoke.Answer, error) {
	if c.uses == 0 && choseH2(c.Conn) {
		p.place.choseHTTP2.Store(true)
		p.discard(c)
		return nil, errChoseHTTP2
	}
	x := &exchange{pool: p, conn: c, handover: h, cause: func() error { return context.Cause(ctx) }}
	head, err := appendRequest(make([]byte, 0, 1024), h, c.host)
	if err != nil {
		p.discard(c)
		return nil, err
	}
	// Closing is what ends every read and write that is in progress.
	x.stop = context.AfterFunc(ctx, func() { _ = c.Close() })
	ans, err := x.run(head)
	if err != nil {
		x.abandon()
		return nil, err
	}
	return ans, nil
}

// An exchange is one request and its answer on one connection.
type exchange struct {
	pool     *pool
	conn     *conn
	handover *handover
	stop     func() bool
	cause    func() error // why the call was abandoned, if it was
	pump     *pump
	keep     bool // the connection may be used again
	once     sync.Once
}

func (x *exchange) run(head []byte) (*invoke.Answer, error) {
	if n, err := x.conn.Write(head); err != nil {
		if n > 0 {
			x.handover.wrote()
		}
		return nil, &lapseError{err: err, untouched: n == 0, silent: true}
	}
	x.handover.wrote()
	if x.handover.call.Body != nil {
		x.pump = startPump(x)
	}
	got, err := x.await()
	if err != nil {
		return nil, x.blame(err)
	}
	if got.status == 101 {
		return x.upgrade(got)
	}
	return x.answer(got)
}

// blame gives the pump's error if there is one: what it ran into is the reason
// that the connection was closed.
func (x *exchange) blame(err error) error {
	if x.pump != nil {
		if failed := x.pump.failed.Load(); failed != nil {
			return *failed
		}
	}
	return err
}

// cut is the error of an answer's body that broke off.
func (x *exchange) cut(err error) error {
	if cause := x.cause(); cause != nil {
		return errAbandoned(cause)
	}
	return errBodyCut(x.blame(unexpected(err)))
}

// await reads the answer's head, handing on the 1xx ones before it.
func (x *exchange) await() (answerHead, error) {
	if x.conn.watched != nil {
		<-x.conn.watched // the read ends with the answer, or with the connection
		if err := x.conn.fault; err != nil {
			return answerHead{}, &lapseError{err: unexpected(err), silent: true}
		}
	}
	for silent := true; ; silent = false {
		head, started, err := readHead(x.conn.br)
		if err != nil {
			return head, &lapseError{err: unexpected(err), silent: silent && !started}
		}
		if head.status == 101 && x.handover.call.Upgrade == "" {
			return head, malformed("101 Switching Protocols without being asked")
		}
		if head.status == 101 || head.status >= 200 {
			return head, nil
		}
		if err := x.interim(head); err != nil {
			return head, err
		}
	}
}

// interim hands on a 1xx answer.
func (x *exchange) interim(head answerHead) error {
	if head.status == 100 && x.pump != nil {
		x.pump.proceed()
	}
	inform := x.handover.call.Informational
	if inform == nil {
		return nil
	}
	invoke.StripHopByHop(&head.fields)
	return inform(head.status, head.fields)
}

// answer makes the Answer of a final head.
func (x *exchange) answer(head answerHead) (*invoke.Answer, error) {
	if x.pump != nil {
		x.pump.answered()
	}
	f, err := frame(head, x.handover.call.Verb)
	if err != nil {
		return nil, err
	}
	x.keep = f.keep
	invoke.StripHopByHop(&head.fields)
	ans := &invoke.Answer{Status: head.status, Major: 1, Fields: head.fields, Length: f.length}
	switch {
	case f.chunked:
		ans.Body = &chunkedBody{exchange: x}
	case f.body == 0:
		x.finish(true)
		ans.Body = invoke.BytesBody(nil)
	default:
		ans.Body = &plainBody{exchange: x, left: f.body}
	}
	return ans, nil
}

// abandon ends an exchange without an answer.
func (x *exchange) abandon() {
	x.once.Do(func() {
		x.stop()
		x.pool.discard(x.conn)
		if x.pump != nil {
			x.pump.abandon()
		}
	})
}

// finish ends an exchange whose answer was handed on. With whole the answer's
// body was read to its end, so that the connection may be used again.
func (x *exchange) finish(whole bool) {
	x.once.Do(func() {
		defer x.handover.ended()
		// If stop fails the context has ended and the connection is closed.
		if !x.stop() || !whole || !x.keep {
			x.pool.discard(x.conn)
			if x.pump != nil {
				x.pump.abandon()
			}
			return
		}
		if x.pump == nil || x.pump.isSent() {
			x.pool.put(x.conn)
			return
		}
		x.pump.settle()
	})
}

// framing is how an answer's body stands on the wire.
type framing struct {
	chunked bool
	body    int64 // bytes to read; -1: until the connection closes
	length  int64 // what the answer says of its length
	keep    bool
}

// frame applies RFC 9112 §6.3.
func frame(head answerHead, verb string) (framing, error) {
	f := framing{body: -1, length: -1, keep: keepsAlive(head)}
	length, err := contentLength(head.fields)
	if err != nil {
		return f, err
	}
	if verb == "HEAD" || head.status == 204 || head.status == 304 {
		f.body, f.length = 0, length
		if head.status == 204 {
			f.length = 0
		}
		return f, nil
	}
	if codings := head.fields.Values("transfer-encoding"); len(codings) > 0 {
		if len(codings) != 1 || !strings.EqualFold(codings[0], "chunked") {
			return f, malformed("the transfer coding %s", strconv.Quote(cut(strings.Join(codings, ", "))))
		}
		if head.minor == 0 { // faulty framing, §6.1
			return f, malformed("a transfer coding in HTTP/1.0")
		}
		f.chunked = true
		// A length beside it is overridden; who sends both is not to be trusted
		// with another request (§6.1).
		f.keep = f.keep && length < 0
		return f, nil
	}
	if length >= 0 {
		f.body, f.length = length, length
		return f, nil
	}
	f.keep = false
	return f, nil
}

// contentLength is the answer's length, -1 without one. Repeated equal values
// are one (RFC 9110 §8.6).
func contentLength(fields invoke.Fields) (int64, error) {
	length := int64(-1)
	for _, value := range fields.Values("content-length") {
		for part := range strings.SplitSeq(value, ",") {
			n, err := strconv.ParseUint(strings.Trim(part, " \t"), 10, 63)
			if err != nil || (length >= 0 && length != int64(n)) {
				return 0, malformed("the content length %s", strconv.Quote(cut(value)))
			}
			length = int64(n)
		}
	}
	return length, nil
}

func keepsAlive(head answerHead) bool {
	alive := head.minor > 0
	for _, name := range invoke.Nominated(head.fields) {
		switch {
		case strings.EqualFold(name, "close"):
			return false
		case strings.EqualFold(name, "keep-alive"):
			alive = true
		}
	}
	return alive
}

// upgrade makes the Answer of a 101: from here on the connection is two byte
// streams. The protocol that the app chose stays in the fields, for it is what
// the client has to be told.
func (x *exchange) upgrade(head answerHead) (*invoke.Answer, error) {
	protocol := head.fields.Get("Upgrade")
	if protocol == "" {
		protocol = x.handover.call.Upgrade
	}
	invoke.StripHopByHop(&head.fields)
	head.fields.Add("Upgrade", protocol)
	return &invoke.Answer{
		Status: head.status, Major: 1, Fields: head.fields, Length: -1,
		Body: &plainBody{exchange: x, left: -1, tunnel: true}, Upgraded: &tunnel{conn: x.conn},
	}, nil
}

// tunnel is the client's direction after an upgrade.
type tunnel struct{ conn *conn }

func (t *tunnel) Write(p []byte) (int, error) { return t.conn.Write(p) }

// CloseWrite half-closes the connection to the app.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.conn.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return io.ErrClosedPipe
}
