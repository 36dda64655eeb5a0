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
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An incoming is the callee's side of a call. Its handler runs in one
// goroutine; the link's reader reports what comes.
type incoming struct {
	stream
	sv      *served
	began   time.Time
	expect  bool // the caller waits for continue before the body
	asked   atomic.Bool
	reached atomic.Bool
	cancel  context.CancelCauseFunc
}

func (in *incoming) received() error { return nil }

// reset is called when the caller gives up.
func (in *incoming) reset(payload []byte) {
	in.l.forget(&in.stream)
	in.giveUp(parseFault(payload, apperr.ReachedMaybe, ""))
}

// giveUp cancels the handler of a call that is no longer on its link.
func (in *incoming) giveUp(err *apperr.Error) {
	in.cancel(err)
	in.stop()
	in.drop(err)
}

// reject ends a call because of what its caller sent.
func (in *incoming) reject(cause error) {
	e := &apperr.Error{
		Reason: apperr.ProtocolError, What: "the request cannot be passed on", Cause: cause.Error(),
	}
	in.refuse(e)
	in.giveUp(e)
}

// run hands the call to the handler and sends the answer.
func (in *incoming) run(ctx context.Context, head callHead) {
	defer in.cancel(nil)
	if head.timeLeft > 0 {
		limited, stop := context.WithDeadline(ctx, in.began.Add(head.timeLeft))
		defer stop()
		ctx = limited
	}
	in.answer(ctx, head.call)
	in.drop(io.ErrClosedPipe)
}

func (in *incoming) answer(ctx context.Context, c *invoke.Call) {
	defer func() {
		// One call's bug must not end the app beside it.
		if p := recover(); p != nil {
			in.sv.log.Error("a call panicked", "caller", in.sv.caller, "panic", p, "stack", string(debug.Stack()))
			in.refuse(&apperr.Error{Reason: apperr.Internal, What: fmt.Sprintf("internal: %v", p)})
		}
	}()
	c.Caller = in.sv.caller
	c.Informational = in.inform
	c.Reached = in.tellReached
	answer, err := in.sv.handler.Serve(ctx, c)
	if err != nil {
		in.refuse(faultOf(err))
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

func (in *incoming) tellReached() {
	if !in.reached.Swap(true) {
		held := binary.AppendUvarint(nil, micros(time.Since(in.began)))
		in.l.lazily(kindReached, in.id, held)
	}
}

// sendHead sends the final head, or refuses the call because it is too large.
func (in *incoming) sendHead(a *invoke.Answer) bool {
	head := answerHead{status: a.Status, major: a.Major, length: a.Length, fields: a.Fields}
	payload := head.append(make([]byte, 0, head.size()))
	if len(payload) > maxHead {
		in.refuse(&apperr.Error{
			Reason: apperr.HeadTooLarge, Hop: apperr.HopApp, What: "the answer's head is too large", Cause: sized(len(payload)),
		})
		return false
	}
	return in.l.send(&in.stream, kindHead, payload) == nil
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
			in.refuse(answerBroken(err))
			return false
		}
	}
}

// answerBroken is the error of an answer that ended early.
func answerBroken(err error) *apperr.Error {
	e := *faultOf(err)
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
	}
	return b.in.read(p)
}

func (b *requestBody) Trailers() invoke.Fields { return b.in.in.behind() }

// Close tells the caller that no more is wanted.
func (b *requestBody) Close() error {
	if !b.in.in.isEnded() && b.in.l.stream(b.in.id) == &b.in.stream {
		_ = b.in.l.control(kindStop, b.in.id, nil) // the link has ended: nobody sends
	}
	b.in.drop(io.ErrClosedPipe)
	return nil
}
