package mesh

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An outgoing is the caller's side of a call. One goroutine waits for the
// answer and then reads it, one may read the call's body, and the link's reader
// reports what comes.
type outgoing struct {
	stream
	c    *client
	call *invoke.Call
	news chan struct{} // capacity 1: something for Send
	cont chan struct{} // closed when the peer wants the body; nil if it need not say so
	// unwatch ends the watching of the call's context.
	unwatch func() bool

	state    sync.Mutex // guards what follows; taken before the link's mutex
	infos    []answerHead
	infoSize int
	head     *answerHead
	tunnel   bool
	over     [2]bool // of a tunnel: our direction, the peer's
	reached  bool
	held     time.Duration
	failed   *apperr.Error
	own      bool // failed is our own doing, not an answer
	wanted   bool // cont is closed
}

func (o *outgoing) frame(h header, payload []byte) error {
	switch h.kind {
	case kindContinue:
		o.goOn()
	case kindReached:
		held, err := number(payload, maxMicros)
		if err != nil {
			return violated("reached: %v", err)
		}
		o.state.Lock()
		o.reached, o.held = true, duration(held)
		o.state.Unlock()
		o.tell()
	case kindRefused:
		o.leave()
		o.fail(parseFault(payload, invoke.Evidence{Refused: true}.Reached(), o.c.greeting.instance))
	case kindInfo, kindHead:
		return o.answered(h, payload)
	case kindStop:
		o.stop()
	}
	return nil
}

// answered takes a head.
func (o *outgoing) answered(h header, payload []byte) error {
	head, err := parseAnswerHead(payload)
	if err != nil {
		return violated("head: %v", err)
	}
	if err := checkFields(head.fields); err != nil {
		o.reject(err)
		return nil
	}
	if h.kind == kindInfo {
		o.inform(head, len(payload))
		return nil
	}
	o.state.Lock()
	twice := o.head != nil
	o.head = &head
	o.tunnel = head.status == 101
	o.state.Unlock()
	if twice {
		return violated("two heads for one call")
	}
	if h.end {
		return o.ended(nil)
	}
	o.tell()
	return nil
}

// inform keeps a 1xx for Send, as many as there is room for.
func (o *outgoing) inform(head answerHead, size int) {
	o.state.Lock()
	if len(o.infos) < maxInfos && o.infoSize+size <= maxHead {
		o.infos = append(o.infos, head)
		o.infoSize += size
	}
	o.state.Unlock()
	o.tell()
}

// received is called when the answer is complete. Nothing more is sent then,
// unless it is a tunnel whose other direction goes on. A call counts as open
// until its answer has been read: it takes its part of the link's window.
func (o *outgoing) received() error {
	o.state.Lock()
	headless := o.head == nil
	o.state.Unlock()
	if headless {
		return violated("an answer without a head")
	}
	if o.isOver(theirs) {
		o.stop()
	}
	o.tell()
	return nil
}

// leave takes a call off its link.
func (o *outgoing) leave() {
	o.c.forget(&o.stream)
	o.stop()
	o.c.freed()
}

// The directions of a call.
const (
	ours = iota
	theirs
)

// isOver notes that a direction has ended, and reports whether the call has.
func (o *outgoing) isOver(direction int) bool {
	o.state.Lock()
	defer o.state.Unlock()
	o.over[direction] = true
	return !o.tunnel || o.over[ours] && o.over[theirs]
}

// reset is called when the peer has given the call up.
func (o *outgoing) reset(payload []byte) {
	o.leave()
	o.fail(parseFault(payload, apperr.ReachedMaybe, o.c.greeting.instance))
}

// fail ends a call that is no longer on its link. What has come of an answer
// stays readable.
func (o *outgoing) fail(err *apperr.Error) {
	o.state.Lock()
	if o.failed == nil {
		o.failed = err
	}
	o.state.Unlock()
	o.stop()
	o.in.fail(err)
	o.tell()
}

// reject gives up a call because of what its peer sent.
func (o *outgoing) reject(cause error) {
	o.abandon(&apperr.Error{
		Reason: apperr.ProtocolError, What: "the answer of " + o.c.name.app + " cannot be passed on",
		Cause: cause.Error(), Reached: apperr.ReachedMaybe, Instance: o.c.name.instance,
	})
}

// abandon gives the call up and tells the peer. It does nothing to a call that
// is over.
func (o *outgoing) abandon(err *apperr.Error) {
	o.c.cancel(&o.stream, kindReset, encodeFault(err))
	o.stop()
	o.c.freed()
	o.state.Lock()
	if o.failed == nil {
		o.failed, o.own = err, true
	}
	o.state.Unlock()
	o.drop(err)
	o.tell()
}

// goOn lets the body be sent.
func (o *outgoing) goOn() {
	o.state.Lock()
	defer o.state.Unlock()
	if o.cont != nil && !o.wanted {
		o.wanted = true
		close(o.cont)
	}
}

func (o *outgoing) tell() {
	select {
	case o.news <- struct{}{}:
	default:
	}
}

// news is what has come of an answer before its body.
type news struct {
	infos   []answerHead
	head    *answerHead
	failed  *apperr.Error
	own     bool
	reached bool
	held    time.Duration
}

// isFailure reports whether there is an error to return. A head that came
// before its peer gave up is an answer still.
func (n *news) isFailure() bool { return n.failed != nil && (n.own || n.head == nil) }

// next waits for news.
func (o *outgoing) next() news {
	<-o.news
	o.state.Lock()
	defer o.state.Unlock()
	n := news{o.infos, o.head, o.failed, o.own, o.reached, o.held}
	o.infos, o.infoSize = nil, 0
	return n
}

// await waits for the head, passing on what comes before it.
func (o *outgoing) await() (*answerHead, *apperr.Error) {
	sent := time.Now()
	handed := false
	for {
		n := o.next()
		if n.reached && !handed {
			handed = true
			sent = o.handed(sent, n.held)
		}
		if n.head != nil || handed && n.failed != nil {
			o.answeredAfter(time.Since(sent))
		}
		if n.isFailure() {
			return nil, n.failed
		}
		if err := o.pass(n.infos); err != nil {
			return nil, err
		}
		if n.head != nil {
			return n.head, nil
		}
	}
}

func (o *outgoing) answeredAfter(d time.Duration) {
	if t := o.call.Timing; t != nil {
		t.App += d
	}
}

// handed notes that the app has been given the call, and returns since when.
func (o *outgoing) handed(sent time.Time, held time.Duration) time.Time {
	if t := o.call.Timing; t != nil {
		// The frame may have travelled with the answer: when it came says
		// nothing of when the app got the call.
		held = min(held, time.Since(sent)).Truncate(time.Millisecond)
		t.Held += held
		sent = sent.Add(held)
	}
	if o.call.Reached != nil {
		o.call.Reached()
	}
	return sent
}

// pass gives 1xx answers to the caller.
func (o *outgoing) pass(infos []answerHead) *apperr.Error {
	if o.call.Informational == nil {
		return nil
	}
	for _, info := range infos {
		if err := o.call.Informational(info.status, info.fields); err != nil {
			failed := &apperr.Error{Reason: apperr.Cancelled, What: "the call was given up by its caller", Err: err}
			o.abandon(failed)
			return failed
		}
	}
	return nil
}

var uploadBuffers = sync.Pool{New: func() any { return new([maxData]byte) }}

// upload sends the call's body, and closes it.
func (o *outgoing) upload() {
	defer o.c.uploads.Done()
	body := o.call.Body
	defer func() { _ = body.Close() }() // its end has been reported, or nobody wants it
	if o.cont != nil {
		select {
		case <-o.cont:
		case <-o.done:
			return
		}
	}
	buf := uploadBuffers.Get().(*[maxData]byte)
	defer uploadBuffers.Put(buf)
	for !o.isStopped() {
		n, err := body.Read(buf[:])
		if n > 0 && o.c.sendData(&o.stream, buf[:n]) != nil {
			return
		}
		if err == io.EOF { //nolint:errorlint // an error that wraps io.EOF is no good end
			o.uploaded(body.Trailers())
			return
		}
		if err != nil {
			o.abandon(bodyBroken(err))
			return
		}
	}
}

func (o *outgoing) uploaded(trailers invoke.Fields) {
	if fieldsSize(trailers) > maxHead {
		o.abandon(&apperr.Error{Reason: apperr.HeadTooLarge, What: "the request's trailers are too large", Cause: sized(fieldsSize(trailers))})
		return
	}
	_ = o.finish(trailers) // the call's own end is reported by what ended it
}

func bodyBroken(err error) *apperr.Error {
	if known := apperr.From(err); known.Reason != apperr.Internal {
		e := *known
		e.Reached = apperr.ReachedMaybe
		return &e
	}
	return &apperr.Error{Reason: apperr.Cancelled, What: "the request's body ended early", Err: err}
}

func sized(n int) string {
	return fmt.Sprintf("%d bytes where %d is the limit", n, maxHead)
}

// watched gives the call up when ctx ends.
func (o *outgoing) watched(ctx context.Context) {
	o.unwatch = context.AfterFunc(ctx, func() {
		o.abandon(given(ctx, o.c.name.app, invoke.Evidence{}))
	})
}
