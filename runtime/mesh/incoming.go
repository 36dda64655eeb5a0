package mesh

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An incoming is the callee's side of a call. Its handler runs in one
// goroutine; the link's reader reports what comes. All of the call that is ours
// is in it, in one piece of memory.
type incoming struct {
	stream
	sv      *served
	ctx     *callctx.Context
	call    invoke.Call
	body    requestBody
	began   time.Time
	begun   bool // the handler runs; the reader's
	expect  bool // the caller waits for continue before the body
	asked   atomic.Bool
	reached atomic.Int64 // microseconds from began until the app was reached, and one; 0 if it was not
	told    bool         // the caller has been told so; guarded by the link's mutex
}

func (in *incoming) received() error { return nil }

// wake starts the handler, or tells it that something has come.
func (in *incoming) wake() {
	switch {
	case in.begun:
		in.in.wake()
	case !in.isStopped(): // neither refused nor lost meanwhile
		in.begun = true
		in.sv.start(in)
	default:
		in.ctx.Cancel(nil)
	}
}

// reset is called when the caller gives up.
func (in *incoming) reset(payload []byte) {
	in.l.forget(&in.stream)
	in.lose(parseFault(payload, apperr.ReachedMaybe, ""))
}

// lose cancels the handler of a call that is no longer on its link.
func (in *incoming) lose(err *apperr.Error) {
	in.ctx.Cancel(err)
	in.stop()
	in.drop(err)
}

// reject ends a call because of what its caller sent.
func (in *incoming) reject(cause error) {
	e := &apperr.Error{
		Reason: apperr.ProtocolError, What: "the request cannot be passed on", Cause: cause.Error(),
	}
	in.refuse(e)
	in.lose(e)
}

// run hands the call to the handler and sends the answer.
func (in *incoming) run() {
	in.handle()
	in.ctx.Cancel(nil)
	in.giveUp(io.ErrClosedPipe)
}

func (in *incoming) handle() {
	defer func() {
		// One call's bug must not end the app beside it.
		if p := recover(); p != nil {
			in.sv.log.Error("a call panicked", "caller", in.sv.caller, "panic", p, "stack", string(debug.Stack()))
			in.refuse(&apperr.Error{Reason: apperr.Internal, What: fmt.Sprintf("internal: %v", p)})
		}
	}()
	c := &in.call
	c.Caller = in.sv.caller
	c.Informational = in.inform
	c.Reached = in.tellReached
	answer, err := in.sv.handler.Serve(in.ctx, c)
	if err != nil {
		in.refuse(faultOf(in.ctx, err))
		return
	}
	defer func() { _ = answer.Body.Close() }() // its end has been reported
	if answer.Status == 101 && answer.Upgraded != nil {
		in.tunnel(answer)
		return
	}
	in.relay(answer)
}

// refuse ends the call with an error. The kind of frame says whether the app
// may have seen it.
func (in *incoming) refuse(e *apperr.Error) {
	in.stop()
	k := kindReset
	if e.Reached == apperr.ReachedNo {
		k = kindRefused
	} else {
		in.l.mu.Lock()
		in.tellLocked(time.Now())
		in.l.mu.Unlock()
	}
	in.l.cancel(&in.stream, k, encodeFault(e))
}

func (in *incoming) inform(status int, fields invoke.Fields) error {
	head := answerHead{status: status, major: 1, length: -1, fields: fields}
	payload := head.append(make([]byte, 0, head.size()))
	if len(payload) > maxHead {
		return nil // it only informs
	}
	return in.l.send(&in.stream, kindInfo, payload)
}

// tellReached notes that the app has been given the call. The answer's head
// tells the caller, or the link if that is long in coming.
func (in *incoming) tellReached() {
	if in.reached.Load() == 0 {
		in.reached.Store(1 + int64(micros(time.Since(in.began)))) //nolint:gosec // a time of this process
		in.sv.lookAgain()
	}
}

// heldFor is how long the call was kept before its app had it.
func (in *incoming) heldFor() (held time.Duration, reached bool) {
	n := in.reached.Load()
	return time.Duration(n-1) * time.Microsecond, n > 0
}

// tellLocked queues the news that the app has been reached, if that was before
// the time and the caller has not heard. It reports whether there is some left
// to be told. The link's mutex is held.
func (in *incoming) tellLocked(before time.Time) (left bool) {
	held, reached := in.heldFor()
	switch {
	case !reached || in.told:
		return false
	case in.began.Add(held).After(before):
		return true
	case len(in.l.out.buf) <= flood && in.l.streams[in.id] == &in.stream:
		var b [binary.MaxVarintLen64]byte
		in.l.queue(kindReached, in.id, binary.AppendUvarint(b[:0], micros(held)))
	}
	in.told = true
	return false
}

// head is the final head of an answer.
func (in *incoming) head(a *invoke.Answer) answerHead {
	h := answerHead{status: a.Status, major: a.Major, length: a.Length, fields: a.Fields, phrase: a.Phrase}
	h.held, h.reached = in.heldFor()
	return h
}

// sendHead sends the final head, and with it all of the answer if that is there
// and small. The call is refused if its head is too large. more is true if a
// body or a tunnel follows.
func (in *incoming) sendHead(a *invoke.Answer) (more bool) {
	head := in.head(a)
	size := head.size()
	if size > maxHead {
		if size = len(head.append(nil)); size > maxHead {
			in.refuse(&apperr.Error{
				Reason: apperr.HeadTooLarge, Hop: apperr.HopApp, What: "the answer's head is too large", Cause: sized(size),
			})
			return false
		}
	}
	rest, trailers, whole := []byte(nil), invoke.Fields(nil), false
	if a.Status != 101 {
		rest, trailers, whole = invoke.Complete(a.Body)
	}
	l := in.l
	l.mu.Lock()
	if err := l.admit(headerSize+size, &in.stream); err != nil {
		l.mu.Unlock()
		return false // the caller has gone: nobody to tell
	}
	if l.streams[in.id] != &in.stream {
		l.out.letIn()
		l.mu.Unlock()
		return false
	}
	k := kindHead
	if whole && len(rest) == 0 && len(trailers) == 0 {
		k |= flagEnd
	}
	frame := l.out.open(k, in.id)
	l.out.buf = head.append(l.out.buf)
	l.out.close(frame)
	in.told = true
	if whole = k&flagEnd != 0 || whole && l.queueWhole(&in.stream, rest, trailers); whole {
		l.forgetLocked(&in.stream) // before the caller can know, so that it may begin another at once
	}
	l.unlockAndWrite()
	return !whole
}

// relay sends an answer.
func (in *incoming) relay(a *invoke.Answer) {
	if !in.sendHead(a) || !in.pump(a.Body) {
		return
	}
	trailers := a.Body.Trailers()
	if n := fieldsSize(trailers); n > maxHead {
		in.refuse(&apperr.Error{Reason: apperr.HeadTooLarge, Hop: apperr.HopApp, What: "the answer's trailers are too large", Cause: sized(n)})
		return
	}
	k, payload := lastFrame(trailers)
	_ = in.l.sendLast(&in.stream, k, payload) // the caller has gone: nobody to tell
}

// pump sends a body. It reports whether it has ended well.
func (in *incoming) pump(body io.Reader) bool {
	buf := uploadBuffers.Get().(*[maxData]byte)
	defer uploadBuffers.Put(buf)
	for {
		n, err := body.Read(buf[:])
		if n > 0 && in.l.sendData(&in.stream, buf[:n]) != nil {
			return false
		}
		switch {
		case err == io.EOF:
			return true
		case err != nil:
			in.refuse(answerBroken(in.ctx, err))
			return false
		}
	}
}

// answerBroken is the error of an answer that ended early.
func answerBroken(ctx context.Context, err error) *apperr.Error {
	e := *faultOf(ctx, err)
	e.Reached = apperr.ReachedMaybe
	if e.Reason == apperr.Internal {
		e.Reason, e.What, e.Cause = apperr.AppGone, "the app's answer ended early", err.Error()
	}
	return &e
}

// tunnel carries an upgraded connection until both directions have ended.
func (in *incoming) tunnel(a *invoke.Answer) {
	if !in.sendHead(a) {
		return
	}
	inward := make(chan struct{})
	in.sv.calls.Go(func() {
		defer close(inward)
		if !in.feed(a.Upgraded) {
			_ = a.Body.Close() // releases the other direction
		}
	})
	if in.pump(a.Body) {
		_ = in.finish(nil) // the caller has gone: the other direction sees it
	} else {
		in.drop(io.ErrClosedPipe)
	}
	<-inward
	in.l.forget(&in.stream)
}

// feed gives the caller's bytes to the app. It reports whether they ended
// well.
func (in *incoming) feed(w invoke.WriteHalf) bool {
	buf := uploadBuffers.Get().(*[maxData]byte)
	defer uploadBuffers.Put(buf)
	for {
		n, err := in.read(buf[:])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return false
			}
		}
		if err != nil {
			return err == io.EOF && w.CloseWrite() == nil //nolint:errorlint // an error that wraps io.EOF is no good end
		}
	}
}

// A requestBody is a call's body as the handler reads it.
type requestBody struct{ in *incoming }

func (b *requestBody) Read(p []byte) (int, error) {
	if b.in.expect && !b.in.asked.Swap(true) {
		_ = b.in.l.control(kindContinue, b.in.id, nil) // the link has ended: read says so
		b.in.l.push()
	}
	return b.in.read(p)
}

func (b *requestBody) Trailers() invoke.Fields { return b.in.in.behind() }

// Whole is the rest of the body, if it has all come and nothing follows it.
func (b *requestBody) Whole() ([]byte, bool) {
	rest, trailers, ok := b.Complete()
	return rest, ok && len(trailers) == 0
}

// Complete is the rest of the body and what follows it, if all of it has come.
func (b *requestBody) Complete() ([]byte, invoke.Fields, bool) { return b.in.in.whole() }

// Held is how many bytes of the body are unread, if all of it has come.
func (b *requestBody) Held() (int64, bool) { return b.in.in.held() }

// Line is the link that the body came on.
func (b *requestBody) Line() (line any, most int64) { return b.in.l, linkWindow }

// Close tells the caller that no more is wanted.
func (b *requestBody) Close() error {
	if !b.in.in.isEnded() && b.in.l.stream(b.in.id) == &b.in.stream {
		_ = b.in.l.control(kindStop, b.in.id, nil) // the link has ended: nobody sends
		b.in.l.push()
	}
	b.in.giveUp(io.ErrClosedPipe)
	return nil
}
