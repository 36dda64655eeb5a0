package httpapi

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// h2Conns are a door's HTTP/2 connections.
type h2Conns struct {
	serving sync.WaitGroup

	mu      sync.Mutex // guards what follows
	open    map[*h2.ServerConn]struct{}
	closing bool
}

// begin notes a connection, unless no more is served.
func (h *h2Conns) begin(sc *h2.ServerConn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	if h.open == nil {
		h.open = make(map[*h2.ServerConn]struct{})
	}
	h.open[sc] = struct{}{}
	h.serving.Add(1)
	return true
}

func (h *h2Conns) end(sc *h2.ServerConn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, sc)
	h.serving.Done()
}

func (h *h2Conns) each(f func(*h2.ServerConn)) {
	h.mu.Lock()
	conns := make([]*h2.ServerConn, 0, len(h.open))
	for sc := range h.open {
		conns = append(conns, sc)
	}
	h.mu.Unlock()
	for _, sc := range conns {
		f(sc)
	}
}

// shutdown lets the exchanges that are open end, until limit does.
func (h *h2Conns) shutdown(limit context.Context) {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	h.each((*h2.ServerConn).Shutdown)
	stop := context.AfterFunc(limit, func() {
		h.each(func(sc *h2.ServerConn) { sc.Close(errDoorClosed) })
	})
	h.serving.Wait()
	stop()
}

// serveH2 serves an HTTP/2 connection until it has ended.
func (d *door) serveH2(c *conn) {
	c.becomeTunnel() // framing looks at HTTP/1 only
	f := &fastH2{door: d, c: c}
	srv := &h2.Server{Handler: f.serve, Values: context.WithValue(d.base, connKey{}, c)}
	sc := srv.NewConn(c)
	if !d.h2.begin(sc) {
		_ = c.Close() // nobody serves it any more
		return
	}
	defer d.h2.end(sc)
	sc.Serve()
}

// fastH2 carries calls from one HTTP/2 connection. What is no call, and what is
// to be refused, is answered as if net/http had read it.
type fastH2 struct {
	*door
	c    *conn
	host atomic.Pointer[string]        // the last host name that was ours
	last atomic.Pointer[invoke.Target] // the last target that was called
}

// An h2Exchange is one call from HTTP/2.
type h2Exchange struct {
	s     *h2.Stream
	asked ask
	call  invoke.Call
	code  int // gRPC's, of an answer made here
}

func (f *fastH2) serve(ctx *callctx.Context, s *h2.Stream) {
	f.open.add(1)
	defer f.open.add(-1)
	f.counts.http2.Add(1)
	x := &h2Exchange{s: s}
	if !f.take(ctx, x) {
		h2.ServeHTTP(ctx, s, http.HandlerFunc(f.answer), f.log)
		return
	}
	if f.cfg.Served == nil {
		f.call(ctx, x)
		return
	}
	one := Served{Verb: s.Method(), Target: s.Path(), RequestSize: max(s.Length(), 0), GRPC: x.asked.isGRPC()}
	began := time.Now()
	f.call(ctx, x)
	one.Status, one.Size, one.Took = s.Status(), s.Size(), time.Since(began)
	f.cfg.Served(one)
}

// call carries the call out, and logs it if nobody else does.
func (f *fastH2) call(ctx *callctx.Context, x *h2Exchange) {
	if f.cfg.APILog == nil {
		f.carry(ctx, x)
		return
	}
	s := x.s
	call := APICall{
		Method: s.Method() + " " + PlainPath(s.Path()), Target: x.call.Target.Given, Route: CallRoute(x.call.Target.Given),
		UserAgent: x.call.Fields.Get("user-agent"),
	}
	began := time.Now()
	if !f.carry(ctx, x) {
		call.Code, call.Size, call.Duration = s.Status(), s.Size(), time.Since(began)
		if call.GRPC = x.asked.isGRPC(); call.GRPC {
			call.Method, call.Code = s.Path(), x.code
		}
		f.cfg.APILog(call)
	}
}

// take makes the exchange a call, if it is nothing but one that is allowed.
func (f *fastH2) take(ctx *callctx.Context, x *h2Exchange) bool {
	s, a := x.s, &x.asked
	a.verb, a.target, a.host = s.Method(), s.Path(), s.Authority()
	if f.checkUsers && f.c.denyUser() != nil || !a.read(s.Fields()) || !f.admits(a) || !a.isGRPC() && !f.fits(s.Length()) {
		return false
	}
	id, path, ok := route(a)
	if !ok {
		return false
	}
	target, err := f.target(id)
	if err != nil {
		return false
	}
	allowed, e := a.timeLeft()
	if e != nil {
		return false
	}
	if allowed > 0 {
		ctx.Limit(time.Now().Add(allowed))
	}
	x.call = invoke.Call{
		Target: target, Verb: a.verb, Path: path, Asked: a.target, Major: 2, Host: a.host, Remote: s.Remote(),
		Fields: f.callFields(s.Fields()), Length: s.Length(), Expect: s.Expect(), Informational: s.Informational,
	}
	if body := s.Body(); body != nil {
		x.call.Body = body
	}
	return true
}

// admits reports whether the request is nothing but a call that is allowed.
func (f *fastH2) admits(a *ask) bool {
	if known := f.host.Load(); known == nil || *known != a.host {
		if !f.answersTo(hostName(a.host)) {
			return false
		}
		host := a.host
		f.host.Store(&host)
	}
	switch {
	case a.verb == http.MethodConnect, a.preflight() && f.origins.on():
		return false
	case a.isGRPC():
		if f.public || f.cfg.GRPC.Methods[a.target] {
			return false
		}
	case !f.calls || f.piped != nil || apiPath(a.target) != "":
		return false
	}
	return f.denyPage(a) == nil && f.tokenGood(a, "")
}

// target is invoke.ParseTarget, which most connections ask for one app only.
func (f *fastH2) target(id string) (invoke.Target, error) {
	if last := f.last.Load(); last != nil && last.Given == id {
		return *last, nil
	}
	target, err := invoke.ParseTarget(id)
	if err == nil {
		f.last.Store(&target)
	}
	return target, err
}

// callFields removes the fields that end here, in place, and joins what HTTP/2
// alone may split (RFC 9113 §8.2.3).
func (f *fastH2) callFields(fields invoke.Fields) invoke.Fields {
	kept, cookie := fields[:0], -1
	for _, field := range fields {
		switch {
		case f.endsHere(field.Name), field.Name == "expect", field.Name == "content-length", field.Name == "host":
			continue
		case field.Name != "cookie":
		case cookie >= 0:
			kept[cookie].Value += "; " + field.Value
			continue
		default:
			cookie = len(kept)
		}
		kept = append(kept, field)
	}
	return kept
}

// carry carries the call out and answers. It reports whether the answer was an
// app's.
func (f *fastH2) carry(ctx context.Context, x *h2Exchange) (relayed bool) {
	var granted invoke.Fields
	if f.origins.on() {
		granted = f.origins.grant(x.asked.origin, x.asked.verb)
	}
	grpc, id := x.asked.isGRPC(), x.call.Target.Given
	answer, err := f.cfg.Invoke.Serve(ctx, &x.call)
	if err != nil {
		reply := traced(render(grpc, id, apperr.From(err)), &x.call)
		f.failed(reply.Body)
		x.reply(granted, reply)
		return false
	}
	if len(granted) > 0 {
		if granted.Has(corsOrigin) {
			answer.Fields.Del(corsOrigin) // ours says what was allowed
		}
		answer.Fields = append(granted, answer.Fields...)
	}
	if e := unanswerable(answer); e != nil {
		_ = answer.Body.Close() // e is what is said
		x.reply(granted, render(grpc, answer.Peer.App(), e))
		return false
	}
	// A gRPC client is given the status of an answer that breaks off, which
	// says more than a reset.
	var cut func(error) invoke.Fields
	if grpc && answer.Length < 0 {
		cut = cutTrailers
	}
	if err := x.s.Answer(answer, cut); err != nil {
		f.log.Debug("answer broke off", "app", answer.Peer.App(), "instance", answer.Instance, "err", err)
	}
	return true
}

func cutTrailers(err error) invoke.Fields { return grpcTrailers(apperr.From(err)) }

// reply answers with what was made here; a client that is gone cannot be told.
func (x *h2Exchange) reply(granted invoke.Fields, r h1.Reply) {
	fields := append(granted, r.Fields...)
	x.code = grpcCode(r.Fields)
	if len(r.Body) == 0 {
		_ = x.s.Begin(r.Status, fields, -1, true)
		return
	}
	_ = x.s.Reply(r.Status, fields, r.Body)
}
