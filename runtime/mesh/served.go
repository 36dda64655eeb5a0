package mesh

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/tls/identity"
)

// served is the server's side of a link.
type served struct {
	*link
	caller  identity.ID
	calls   sync.WaitGroup // the handlers that run
	handler invoke.Handler
	log     *slog.Logger
	values  context.Context //nolint:containedctx // what the calls' contexts are made from
	crew    crew
	running atomic.Int32
	greeted bool // the client has said hello; the reader's

	looking atomic.Bool // the timer is set
	look    *time.Timer // for calls that have been reached and not answered
}

func newServed(ctx context.Context, s *Server, caller identity.ID, conn *tls.Conn, sock *socket) *served {
	sv := &served{caller: caller, handler: s.cfg.Handler, log: s.log, values: context.WithoutCancel(ctx)}
	sv.link = newLink(conn, sock, sv)
	sv.crew.serve = sv.serve
	sv.look = time.AfterFunc(time.Hour, sv.tellReached)
	sv.look.Stop()
	return sv
}

func (sv *served) frame(h header, payload []byte) error {
	switch h.kind {
	case kindHello:
		return sv.hello(payload)
	case kindCall:
		if !sv.greeted {
			return violated("a call before the hello")
		}
		return sv.call(h, payload)
	}
	return nil
}

func (sv *served) hello(payload []byte) error {
	g, err := parseGreeting(payload)
	switch {
	case err != nil:
		return violated("hello: %v", err)
	case g.oldest != g.newest || g.agree() == 0:
		return violated("hello: revision %d where %d to %d are spoken", g.newest, oldestRevision, newestRevision)
	}
	sv.greeted = true
	return nil
}

// call takes a call, or says that it does not.
func (sv *served) call(h header, payload []byte) error {
	in := &incoming{sv: sv, began: time.Now()}
	in.init(sv.link, in)
	head, err := parseCallHead(payload, &in.call)
	if err != nil {
		return violated("call: %v", err)
	}
	in.expect = in.call.Expect
	var deadline time.Time
	if head.timeLeft > 0 {
		deadline = in.began.Add(head.timeLeft)
	}
	in.ctx = callctx.New(sv.values, deadline)
	taken, err := sv.take(in, h)
	if err == nil && taken {
		sv.tell(&in.stream)
		err = sv.prepare(in, h, head)
	}
	if err != nil || !taken {
		in.ctx.Cancel(nil)
	}
	return err
}

// prepare gives the call its body, or refuses it.
func (sv *served) prepare(in *incoming, h header, head callHead) error {
	c := &in.call
	switch {
	case h.end:
		if err := in.ended(nil); err != nil {
			return err
		}
	case c.Upgrade == "":
		in.body.in = in
		c.Body = &in.body
	}
	if c.Body == nil {
		c.Length = 0 // whatever the head says: nothing follows
	}
	if err := head.check(); err != nil {
		in.refuse(&apperr.Error{
			Reason: apperr.ProtocolError, What: "the request cannot be passed on", Cause: err.Error(), Reached: apperr.ReachedNo,
		})
	}
	if sv.running.Load() >= 2*maxCalls {
		in.refuse(&apperr.Error{
			Reason: apperr.Refused, What: "too many calls are ending", Cause: "calls that were given up have not ended yet",
			Reached: apperr.ReachedNo,
		})
	}
	return nil
}

// start runs a call's handler.
func (sv *served) start(in *incoming) {
	sv.running.Add(1)
	sv.calls.Add(1)
	sv.crew.take(in)
}

func (sv *served) serve(in *incoming) {
	defer sv.calls.Done()
	defer sv.running.Add(-1)
	in.run()
}

// lazyTime is how long the news that an app has been reached waits for the
// answer to travel with.
const lazyTime = 10 * time.Millisecond

// lookAgain sees to it that a call whose answer is long in coming is told of.
func (sv *served) lookAgain() {
	if !sv.looking.Swap(true) {
		sv.look.Reset(lazyTime)
	}
}

// tellReached tells the caller of the calls that its app has been given, and
// that it has not answered since.
func (sv *served) tellReached() {
	sv.looking.Store(false) // who is reached from now on sets the timer itself
	left := false
	sv.mu.Lock()
	before := time.Now().Add(-lazyTime)
	for _, s := range sv.streams {
		if in, ok := s.end.(*incoming); ok && in.tellLocked(before) {
			left = true
		}
	}
	left = left && sv.err == nil
	sv.mu.Unlock()
	sv.push()
	if left {
		sv.lookAgain()
	}
}

// cancelCalls ends the calls that are open.
func (sv *served) cancelCalls(cause error) {
	sv.mu.Lock()
	open := make([]*stream, 0, len(sv.streams))
	for _, s := range sv.streams {
		open = append(open, s)
	}
	sv.mu.Unlock()
	for _, s := range open {
		if in, ok := s.end.(*incoming); ok {
			in.ctx.Cancel(cause)
		}
	}
}

// take registers a call. A leaving link takes none: the caller knows from the
// number that was sent it.
func (sv *served) take(in *incoming, h header) (bool, error) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	switch {
	case sv.err != nil:
		return false, sv.err
	case h.call <= sv.last:
		return false, violated("call %d behind call %d", h.call, sv.last)
	case sv.leaving:
		sv.last = h.call
		return false, nil
	case len(sv.streams) >= 2*maxCalls:
		// Not at maxCalls: a tunnel whose ends have crossed is over for the
		// caller before it is for us.
		return false, violated("%d open calls where %d are the limit", len(sv.streams)+1, maxCalls)
	}
	sv.begin(&in.stream, h.call)
	return true, nil
}

func (sv *served) lost(s *stream, err error, _ bool) {
	in, ok := s.end.(*incoming)
	if !ok {
		return
	}
	e := &apperr.Error{Reason: apperr.Cancelled, What: "the caller's sidecar went away", Err: err}
	in.lose(e)
}

// idle lets the link be: the caller closes it.
func (sv *served) idle(d time.Duration) {
	if d >= 2*tick {
		sv.crew.dismiss(false)
	}
}
