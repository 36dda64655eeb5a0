package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// fast carries calls from the fast HTTP/1.1 engine. It takes what is a call and
// may be one, and what an endpoint of the API answers, and leaves everything
// else, refusals of calls included, to net/http.
type fast struct{ *door }

// Take implements h1.Handler.
func (f fast) Take(x *h1.Exchange) bool {
	c, ok := x.Conn().(*conn)
	if !ok || f.checkUsers && c.denyUser() != nil {
		return false
	}
	a := ask{verb: x.Head.Verb, target: x.Head.Target, host: x.Head.Host}
	if !a.read(x.Head.Fields) {
		return false
	}
	if path := apiPath(a.target); path != "" {
		x.Own = x.Head.Upgrade == "" && f.answersItself(&a, path)
		return x.Own
	}
	if !f.admits(c, &a) || !f.fits(x.Head.Length) {
		return false
	}
	id, path, ok := route(&a)
	if !ok {
		return false
	}
	target, err := c.target(id)
	if err != nil {
		return false
	}
	allowed, e := a.timeLeft()
	if e != nil {
		return false
	}
	if allowed > 0 {
		x.Deadline = time.Now().Add(allowed)
	}
	x.Call.Target, x.Call.Path, x.Call.Asked = target, path, x.Head.Target
	x.Call.Upgrade = upgradeOf(x.Head.Upgrade)
	f.strip(&x.Call.Fields)
	return x.Call.Upgrade == "" || x.Head.Length == 0
}

// answersItself reports whether a request for a path, as apiPath has it, is for
// an endpoint of the API, which answers in one piece.
func (f fast) answersItself(a *ask, path string) bool {
	if f.piped != nil || a.isGRPC() {
		return false
	}
	found, _, _ := f.offers.find(a.verb, path)
	return found != nil
}

// admits reports whether the request is nothing but a call that is allowed.
func (f fast) admits(c *conn, a *ask) bool {
	if a.host != c.goodHost {
		if !f.answersTo(hostName(a.host)) {
			return false
		}
		c.goodHost = strings.Clone(a.host) // it is a part of a whole head
	}
	if a.isGRPC() || a.preflight() && f.origins.on() || !f.calls || f.piped != nil {
		return false
	}
	return f.denyPage(a) == nil && f.tokenGood(a, "")
}

// fits reports whether a body of this length, -1 if it is not known, is surely
// no larger than allowed.
func (s *Server) fits(length int64) bool {
	return s.cfg.MaxCallBody <= 0 || length >= 0 && length <= s.cfg.MaxCallBody
}

// strip removes the fields that end here, in place.
func (f fast) strip(fields *invoke.Fields) {
	kept := (*fields)[:0]
	for _, field := range *fields {
		if !f.endsHere(field.Name) {
			kept = append(kept, field)
		}
	}
	*fields = kept
}

// Serve implements h1.Handler.
func (f fast) Serve(ctx context.Context, x *h1.Exchange) {
	f.counts.fast.Add(1)
	if x.Own {
		h1.ServeHTTP(context.WithValue(ctx, connKey{}, x.Conn()), x, http.HandlerFunc(f.answer))
		return
	}
	if f.cfg.Served == nil {
		f.serve(ctx, x)
		return
	}
	one := Served{Verb: x.Head.Verb, Target: x.Head.Target, RequestSize: max(x.Head.Length, 0)}
	began := time.Now()
	f.serve(ctx, x)
	one.Status, one.Size, one.Took = x.Status(), x.Size(), time.Since(began)
	f.cfg.Served(one)
}

// serve carries the call out, and logs it if nobody else does.
func (f fast) serve(ctx context.Context, x *h1.Exchange) {
	if f.cfg.APILog == nil {
		f.carry(ctx, x)
		return
	}
	call := APICall{
		Method: x.Head.Verb + " " + PlainPath(x.Head.Target), Target: x.Call.Target.Given, Route: CallRoute(x.Call.Target.Given),
		UserAgent: x.Call.Fields.Get("User-Agent"),
	}
	began := time.Now()
	if !f.carry(ctx, x) {
		call.Code, call.Size, call.Duration = x.Status(), x.Size(), time.Since(began)
		f.cfg.APILog(call)
	}
}

// carry carries the call out and answers. It reports whether the answer was an
// app's.
func (f fast) carry(ctx context.Context, x *h1.Exchange) (relayed bool) {
	var granted invoke.Fields
	if f.origins.on() {
		granted = f.origins.grant(x.Call.Fields.Get("Origin"), x.Call.Verb)
	}
	id := x.Call.Target.Given
	upgrade := x.Call.Upgrade
	answer, err := f.cfg.Invoke.Serve(ctx, &x.Call)
	if err != nil {
		f.fail(x, id, granted, f.blame(apperr.From(err), x.BadBody()))
		return false
	}
	if len(granted) > 0 {
		if granted.Has(corsOrigin) {
			answer.Fields.Del(corsOrigin) // ours says what was allowed
		}
		answer.Fields = append(granted, answer.Fields...)
	}
	if answer.Status == http.StatusSwitchingProtocols {
		f.switchProtocols(ctx, x, upgrade, answer)
		return true
	}
	if e := unanswerable(answer); e != nil {
		_ = answer.Body.Close() // e is what is said
		f.fail(x, answer.Peer.App(), granted, e)
		return false
	}
	if err := x.Answer(answer); err != nil {
		f.log.Debug("answer broke off", "app", answer.Peer.App(), "instance", answer.Instance, "err", err)
	}
	return true
}

// fail answers with e; a client that is gone cannot be told.
func (f fast) fail(x *h1.Exchange, id string, granted invoke.Fields, e *apperr.Error) {
	reply := traced(render(false, id, e), &x.Call)
	f.failed(reply.Body)
	reply.Fields = append(granted, reply.Fields...)
	_ = x.Reply(reply)
}

// unanswerable is why an answer cannot be passed on, or nil.
func unanswerable(a *invoke.Answer) *apperr.Error {
	if a.Status >= 200 && a.Status <= 999 {
		return nil
	}
	return &apperr.Error{
		Reason: apperr.ProtocolError, What: "the app answered with the status " + strconv.Itoa(a.Status),
		Hop: apperr.HopApp,
	}
}

// switchProtocols answers 101 and becomes a tunnel.
func (f fast) switchProtocols(ctx context.Context, x *h1.Exchange, offered string, a *invoke.Answer) {
	defer func() { _ = a.Body.Close() }()
	fields, e := switching(offered, a)
	if e != nil {
		_ = x.Reply(render(false, a.Peer.App(), e)) // a client that is gone cannot be told
		return
	}
	early, err := x.Switch(fields)
	if err != nil {
		return // the client is gone
	}
	c, ok := x.Conn().(*conn)
	if !ok {
		return
	}
	c.becomeTunnel()
	tunnel(ctx, c, behind(early, c), a)
}

// Refuse implements h1.Handler.
func (f fast) Refuse(r h1.Refusal) h1.Reply {
	f.counts.refused.Add(1)
	if r.Status == http.StatusRequestHeaderFieldsTooLarge {
		e := &apperr.Error{Reason: apperr.HeadTooLarge, What: "431 Request Header Fields Too Large"}
		fields := mark(e)
		fields.Add("Content-Type", "text/plain; charset=utf-8")
		return h1.Reply{Status: r.Status, Fields: fields, Body: []byte(e.What)} // as the Go library's
	}
	return render(false, "", &apperr.Error{
		Reason: apperr.Usage, What: "this is no HTTP request that can be passed on", Cause: r.Why, Reached: apperr.ReachedNo,
	})
}
