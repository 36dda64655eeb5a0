package mesh

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An outgoing is the caller's side of a call. One goroutine waits for the
// answer and then reads it, one reads the call's body unless that is there as a
// whole, and the link's reader reports what comes. All of the call that outlives
// Send is in it, in one piece of memory.
type outgoing struct {
	stream
	c       *client
	call    *invoke.Call
	began   time.Time
	cont    chan struct{}   // closed when the peer wants the body; nil if it need not say so
	ctx     context.Context //nolint:containedctx // an outgoing is one call's
	watch   callctx.Watch   // of ctx
	whole   bool            // the body has gone with the head
	body    answerBody
	answer  invoke.Answer
	guarded progress
}

// progress is how far an answer has come. The inbox's mutex guards it.
type progress struct {
	fresh    bool // there is news for Send
	infos    []answerHead
	infoSize int
	head     *answerHead
	final    answerHead // what head points to
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
		o.note(func(p *progress) { p.reached, p.held = true, duration(held) })
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

// note changes what is known of the answer, which Send is told with what comes
// next. The reader calls it.
func (o *outgoing) note(change func(p *progress)) {
	o.in.mu.Lock()
	change(&o.guarded)
	o.guarded.fresh = true
	o.in.mu.Unlock()
	o.l.tell(&o.stream)
}

// wake tells whoever waits for the answer.
func (o *outgoing) wake() { o.in.wake() }

// answered takes a head.
func (o *outgoing) answered(h header, payload []byte) error {
	head, err := parseAnswerHead(payload)
	if err != nil {
		return violated("head: %v", err)
	}
	if err := head.check(); err != nil {
		o.reject(err)
		return nil
	}
	if h.kind == kindInfo {
		o.inform(head, len(payload))
		return nil
	}
	twice := false
	o.note(func(p *progress) {
		twice = p.head != nil
		p.final = head
		p.head = &p.final
		p.tunnel = head.status == 101
		if head.reached && !p.reached {
			p.reached, p.held = true, head.held
		}
	})
	if twice {
		return violated("two heads for one call")
	}
	if h.end {
		return o.ended(nil)
	}
	return nil
}

// inform keeps a 1xx for Send, as many as there is room for.
func (o *outgoing) inform(head answerHead, size int) {
	o.note(func(p *progress) {
		if len(p.infos) < maxInfos && p.infoSize+size <= maxHead {
			p.infos = append(p.infos, head)
			p.infoSize += size
		}
	})
}

// received is called when the answer is complete. Nothing more is sent then,
// unless it is a tunnel whose other direction goes on. A call counts as open
// until its answer has been read: it takes its part of the link's window.
func (o *outgoing) received() error {
	o.in.mu.Lock()
	headless := o.guarded.head == nil
	over := o.guarded.isOver(theirs)
	o.in.mu.Unlock()
	if headless {
		return violated("an answer without a head")
	}
	if over {
		o.stop()
	}
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
func (p *progress) isOver(direction int) bool {
	p.over[direction] = true
	return !p.tunnel || p.over[ours] && p.over[theirs]
}

func (o *outgoing) isOver(direction int) bool {
	o.in.mu.Lock()
	defer o.in.mu.Unlock()
	return o.guarded.isOver(direction)
}

// reset is called when the peer has given the call up.
func (o *outgoing) reset(payload []byte) {
	o.leave()
	o.fail(parseFault(payload, apperr.ReachedMaybe, o.c.greeting.instance))
}

// fail ends a call that is no longer on its link. What has come of an answer
// stays readable.
func (o *outgoing) fail(err *apperr.Error) {
	o.failed(err, false)
	o.stop()
	o.in.fail(err)
}

// failed notes why the call has failed, if it is the first to know.
func (o *outgoing) failed(err *apperr.Error, own bool) {
	o.in.mu.Lock()
	defer o.in.mu.Unlock()
	if o.guarded.failed == nil {
		o.guarded.failed, o.guarded.own = err, own
	}
	o.guarded.fresh = true
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
	o.failed(err, true)
	o.drop(err)
}

// goOn lets the body be sent.
func (o *outgoing) goOn() {
	o.in.mu.Lock()
	defer o.in.mu.Unlock()
	if o.cont != nil && !o.guarded.wanted {
		o.guarded.wanted = true
		close(o.cont)
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
	o.in.mu.Lock()
	defer o.in.mu.Unlock()
	p := &o.guarded
	for !p.fresh {
		o.in.more.Wait()
	}
	p.fresh = false
	n := news{p.infos, p.head, p.failed, p.own, p.reached, p.held}
	p.infos, p.infoSize = nil, 0
	return n
}

// await waits for the head, passing on what comes before it.
func (o *outgoing) await() (*answerHead, *apperr.Error) {
	sent := o.began
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
		// The news may have travelled with the answer: when it came says
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
		case <-o.Done():
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

// ctxEnded gives the call up.
func (o *outgoing) ctxEnded() {
	o.abandon(given(o.ctx, o.c.name.app, invoke.Evidence{}))
}
