package app

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// A passage is a call on its way over HTTP/2.
type passage struct {
	ctx      context.Context //nolint:containedctx // the call's, as long as it lasts
	handover *handover
	links    *links
	call     invoke.Call // as the app gets it
	request  h2.Request
	extra    [2]invoke.Field
	body     *lentBody // nil without a body
	room     lentBody  // where body begins
	answer   linkBody
}

func newPassage(ctx context.Context, h *handover, l *links) *passage {
	p := &passage{ctx: ctx, handover: h, links: l, call: *h.call}
	p.request = h2.Request{Scheme: "http", Wrote: h.wrote, Ended: h.ended, Extra: p.extra[:0]}
	if l.place.secure() {
		p.request.Scheme = "https"
	}
	if p.call.Body != nil {
		p.lend(&p.room)
	}
	p.writeFields()
	return p
}

// writeFields makes the call's fields the app's. Those of the call are shared
// and stay as they are.
func (p *passage) writeFields() {
	if token := p.handover.token; token != "" {
		p.request.Extra = append(p.request.Extra, invoke.Field{Name: "dapr-api-token", Value: token})
	}
	left := ""
	if isGRPC(&p.call) {
		left = rpc.Timeout(p.ctx)
	}
	came := p.call.Fields
	named := invoke.Nominated(came)
	same := 0
	for same < len(came) && p.keeps(came[same].Name, named) && (left == "" || !isTimeout(came[same].Name)) {
		same++
	}
	if same < len(came) {
		p.call.Fields = p.rewrite(same, named, left)
	}
	if left != "" && !p.call.Fields.Has(fieldGRPCTimeout) {
		p.request.Extra = append(p.request.Extra, invoke.Field{Name: fieldGRPCTimeout, Value: left})
	}
}

// rewrite is the call's fields without those that are not for the app, and with
// the time left, if it is limited. The first ones stay the same.
func (p *passage) rewrite(same int, named []string, left string) invoke.Fields {
	came := p.call.Fields
	fields := append(make(invoke.Fields, 0, len(came)), came[:same]...)
	for _, f := range came[same:] {
		if !p.keeps(f.Name, named) {
			continue
		}
		if left != "" && isTimeout(f.Name) {
			f.Value = left
		}
		fields = append(fields, f)
	}
	return fields
}

// keeps reports whether a field is for the app.
func (p *passage) keeps(name string, named []string) bool {
	kind := lineOf(name)
	return kind <= lineToken && (kind != lineToken || p.handover.token == "") && !isNamed(name, named)
}

const fieldGRPCTimeout = "grpc-timeout"

func isTimeout(name string) bool { return strings.EqualFold(name, fieldGRPCTimeout) }

// attempt makes the exchange on a connection with a place for it.
func (p *passage) attempt(cc *link) (*invoke.Answer, error) {
	p.request.Authority = cc.host
	ans, err := cc.RoundTrip(p.ctx, &p.call, &p.request)
	if err != nil {
		return nil, err
	}
	if p.body != nil {
		p.body.give()
	}
	p.answer = linkBody{Body: ans.Body, passage: p}
	ans.Body = &p.answer
	return ans, nil
}

// again reports whether the call may be given to another connection: nothing
// of its body has been used up.
func (p *passage) again() bool {
	if p.body == nil {
		return true
	}
	if !p.body.takeBack() {
		return false
	}
	p.lend(new(lentBody))
	return true
}

func (p *passage) lend(b *lentBody) {
	b.Body, b.passage = p.handover.call.Body, p
	p.body, p.call.Body = b, b
}

// A linkBody is an answer's body.
type linkBody struct {
	invoke.Body
	passage *passage
}

func (b *linkBody) Read(data []byte) (int, error) {
	n, err := b.Body.Read(data)
	if err == nil || err == io.EOF { //nolint:errorlint // an error that wraps EOF is no end
		return n, err
	}
	if cause := callctx.Cause(b.passage.ctx); cause != nil {
		return n, errAbandoned(cause)
	}
	err = linkError(err)
	if wrong, ok := errors.AsType[*malformedError](err); ok {
		return n, protocolError(wrong)
	}
	return n, errBodyCut(err)
}

func (b *linkBody) Whole() ([]byte, bool) { return invoke.Whole(b.Body) }

func (b *linkBody) Complete() ([]byte, invoke.Fields, bool) {
	rest, trailers, ok := invoke.Complete(b.Body)
	invoke.StripHopByHop(&trailers)
	return rest, trailers, ok
}

func (b *linkBody) Trailers() invoke.Fields {
	trailers := b.Body.Trailers()
	invoke.StripHopByHop(&trailers)
	return trailers
}

// A lentBody is a call's body in the hands of one connection, which closes it
// whenever it gives up. The call's own stays open until it has been given for
// good, so that another connection may have it.
type lentBody struct {
	invoke.Body
	passage *passage
	state   atomic.Uint32
}

const (
	lentRead   = 1 << iota // something of it may have been used up
	lentClosed             // the connection does not want it any more
	lentGiven              // it is the connection's for good
	lentBack               // it is not the connection's any more
)

var errTakenBack = errors.New("the body went to another connection")

func (b *lentBody) Read(data []byte) (int, error) {
	if b.state.Load()&lentRead == 0 && b.state.Or(lentRead)&lentBack != 0 {
		return 0, errTakenBack
	}
	return b.Body.Read(data)
}

func (b *lentBody) Close() error {
	if b.state.Or(lentClosed)&lentGiven != 0 {
		b.end()
	}
	return nil
}

// give makes the body the connection's.
func (b *lentBody) give() {
	if b.state.Or(lentGiven)&lentClosed != 0 {
		b.end()
	}
}

// takeBack takes the body from the connection, unless that has begun to read
// it.
func (b *lentBody) takeBack() bool { return b.state.Or(lentBack)&lentRead == 0 }

func (b *lentBody) end() { b.passage.links.crew.closeBody(b.passage.handover.call) }

func (b *lentBody) Whole() ([]byte, bool) { return invoke.Whole(b.Body) }

func (b *lentBody) Complete() ([]byte, invoke.Fields, bool) { return invoke.Complete(b.Body) }
