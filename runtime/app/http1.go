package app

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A lapseError says how an attempt failed on a connection.
type lapseError struct {
	err error
	// untouched is proof that the app got no byte; silent says that no byte of
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
	used, idle := c.uses > 0, c.idle
	ans, err := p.attempt(ctx, c, h)
	if err == nil || !used || ctx.Err() != nil {
		return ans, err
	}
	lapse, lapsed := errors.AsType[*lapseError](err)
	if !lapsed || !lapse.silent {
		return nil, err
	}
	p.stale.Add(1)
	p.learn(idle)
	if !lapse.untouched && !h.repeatable() {
		return nil, err
	}
	h.seen = h.seen || !lapse.untouched
	if c, err = p.get(ctx, 0); err != nil {
		return nil, err
	}
	return p.attempt(ctx, c, h)
}

// attempt makes the exchange on one connection, which it gives back or closes.
func (p *pool) attempt(ctx context.Context, c *conn, h *handover) (*invoke.Answer, error) {
	if c.uses == 0 && choseH2(c.Conn) {
		p.discard(c)
		return nil, errChoseHTTP2
	}
	c.asked = time.Now()
	x := &h.exchange
	*x = exchange{pool: p, conn: c, handover: h, ctx: ctx, keep: true}
	// Closing is what ends every read and write that is in progress.
	x.watch = callctx.OnEnd(ctx, c.abort)
	ans, err := x.run()
	if err == nil {
		if x.sent > 0 {
			closeBody(h.call)
		}
		return ans, nil
	}
	fresh, at := c.uses == 0, c.spot
	lapse, lapsed := errors.AsType[*lapseError](err)
	if lapsed && !fresh && lapse.silent && x.sent > 0 && c.sight.refused(x.sent) {
		lapse.untouched = true // the app had closed it, and then we wrote
	}
	x.abandon()
	if fresh && lapsed && lapse.untouched && ctx.Err() == nil {
		return nil, &closedError{spot: at, err: err} // the system made the connection, and the app never took it
	}
	return nil, err
}

// An exchange is one request and its answer on one connection.
type exchange struct {
	pool     *pool
	conn     *conn
	handover *handover
	ctx      context.Context //nolint:containedctx // the call's, as long as it lasts
	watch    callctx.Watch
	pump     *pump
	keep     bool // the connection may be used again
	sent     int  // all of the call, if it is small and went out at once on a used connection; its body is still open
	over     atomic.Bool
	// What the answer's body is one of.
	plain   plainBody
	chunked chunkedBody
	whole   wholeBody
}

func (x *exchange) run() (*invoke.Answer, error) {
	got, err := x.hand()
	switch {
	case err != nil:
		return nil, x.blame(err)
	case got.status == 101:
		return x.upgrade(got), nil
	default:
		return x.answer(got)
	}
}

// hand sends the request, or begins to, and waits for the head of its answer.
func (x *exchange) hand() (answerHead, error) {
	n, err := x.send()
	if n > 0 {
		x.handover.wrote()
	}
	if err == nil {
		got, err := x.await()
		if x.conn.uses == 0 {
			x.pool.heard()
		}
		return got, err
	}
	lapse, lapsed := errors.AsType[*lapseError](err)
	if !lapsed || (lapse.untouched && x.conn.uses > 0) {
		return answerHead{}, err
	}
	// An app may have answered before it stopped listening to us.
	got, heard := x.await()
	if heard != nil {
		return got, err
	}
	x.keep = false
	x.pool.crew.closeBody(x.handover.call)
	return got, nil
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
	if cause := callctx.Cause(x.ctx); cause != nil {
		return errAbandoned(cause)
	}
	return errBodyCut(x.blame(unexpected(err)))
}

// await reads the answer's head, handing on the 1xx ones before it.
func (x *exchange) await() (answerHead, error) {
	c := x.conn
	if c.idle.watched != nil {
		<-c.idle.watched // the read ends with the answer, or with the connection
		if err := c.idle.fault; err != nil {
			return answerHead{}, &lapseError{err: unexpected(err), silent: true}
		}
	}
	for silent := true; ; silent = false {
		head, err := c.head()
		switch {
		case err != nil:
			return head, lapseOf(err, silent && c.r == c.w)
		case head.status == 101 && x.handover.call.Upgrade == "":
			return head, malformed("101 Switching Protocols without being asked")
		case head.status == 101 || head.status >= 200:
			return head, nil
		}
		if err := x.interim(head); err != nil {
			return head, err
		}
	}
}

// lapseOf is the error of a connection that gave no answer; what the app did
// say stays what it is.
func lapseOf(err error, silent bool) error {
	if _, wrong := errors.AsType[*malformedError](err); wrong {
		return err
	}
	return &lapseError{err: unexpected(err), silent: silent}
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
	return inform(head.status, head.fields)
}

// answer makes the Answer of a final head.
func (x *exchange) answer(head answerHead) (*invoke.Answer, error) {
	if x.pump != nil {
		x.pump.answered()
	}
	f, err := frame(&head, x.handover.call.Verb)
	if err != nil {
		return nil, err
	}
	x.keep = f.keep && x.keep
	ans := x.handover.reply(head)
	ans.Length = f.length
	switch {
	case f.body == 0:
		x.finish(true)
		ans.Body = invoke.BytesBody(nil)
	case f.chunked && x.gatherChunks():
		ans.Body = &x.whole
	case f.chunked:
		x.chunked.exchange = x
		ans.Body = &x.chunked
	case f.body > 0 && x.gather(f.body):
		ans.Body = &x.whole
	default:
		x.plain.exchange, x.plain.left = x, f.body
		ans.Body = &x.plain
	}
	return ans, nil
}

// abandon ends an exchange without an answer.
func (x *exchange) abandon() {
	if !x.over.Swap(true) {
		x.watch.Stop()
		x.conn.abort()
		x.drop()
	}
}

// finish ends an exchange whose answer was handed on, and says so. With whole
// the answer's body was read to its end, so that the connection may be used
// again.
func (x *exchange) finish(whole bool) {
	if !x.over.Swap(true) {
		x.part(whole)
		x.handover.ended()
	}
}

// part lets go of the connection.
func (x *exchange) part(whole bool) {
	switch {
	case !x.watch.Stop() || !whole || !x.keep:
		// If Stop fails the context has ended and the connection is closed.
		if whole {
			x.conn.letGo()
		} else {
			x.conn.abort()
		}
		x.drop()
	case x.pump == nil || x.pump.isSent():
		x.pool.put(x.conn)
	default:
		x.pump.settle()
	}
}

// drop closes the connection.
func (x *exchange) drop() {
	x.pool.discard(x.conn)
	if x.pump != nil {
		x.pump.abandon()
	}
}
