package mesh

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
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
	// newContext makes the context of a call.
	newContext func() (context.Context, context.CancelCauseFunc)
	running    atomic.Int32
	greeted    bool // the client has said hello; the reader's
}

func newServed(ctx context.Context, s *Server, caller identity.ID, conn net.Conn) *served {
	sv := &served{caller: caller, handler: s.cfg.Handler, log: s.log}
	sv.newContext = func() (context.Context, context.CancelCauseFunc) { return context.WithCancelCause(ctx) }
	sv.link = newLink(conn, sv)
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
	head, err := parseCallHead(payload)
	if err != nil {
		return violated("call: %v", err)
	}
	ctx, cancel := sv.newContext()
	in := &incoming{sv: sv, began: time.Now(), expect: head.call.Expect, cancel: cancel}
	in.init(sv.link, in)
	taken, err := sv.take(in, h)
	if err != nil || !taken {
		cancel(nil)
		return err
	}
	if err := sv.prepare(in, h, head); err != nil {
		cancel(nil)
		return err
	}
	if in.isStopped() { // refused, or lost meanwhile
		cancel(nil)
		return nil
	}
	sv.running.Add(1)
	sv.calls.Go(func() {
		defer sv.running.Add(-1)
		in.run(ctx, head)
	})
	return nil
}

// prepare gives the call its body, or refuses it.
func (sv *served) prepare(in *incoming, h header, head callHead) error {
	switch {
	case h.end:
		if err := in.ended(nil); err != nil {
			return err
		}
	case head.call.Upgrade == "":
		head.call.Body = &requestBody{in: in}
	}
	if head.call.Body == nil {
		head.call.Length = 0 // whatever the head says: nothing follows
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
	in.giveUp(e)
}

// idle lets the link be: the caller closes it.
func (sv *served) idle(time.Duration) {}
