package daprmesh

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	internalsv1 "github.com/dapr/dapr/pkg/proto/internals/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
	"github.com/pillion-dev/pillion/tls/identity"
)

// An exchange is one call on its way to a peer.
type exchange struct {
	t    *Transport
	to   discovery.Endpoint
	app  string
	want identity.ID
	call *invoke.Call
}

func (e *exchange) addr() string { return e.to.Addrs[0].String() }

// place is where its connections go.
func (e *exchange) place() place {
	if e.t.cfg.TLS == nil {
		return place{addr: e.addr()}
	}
	return place{addr: e.addr(), want: e.want}
}

func (e *exchange) scheme() string {
	if e.t.cfg.TLS == nil {
		return "http"
	}
	return "https"
}

// carry makes the attempt: under its own name if it is a gRPC exchange, by
// Dapr's service otherwise.
func (e *exchange) carry(ctx context.Context) (*invoke.Answer, error) {
	if len(e.to.Addrs) == 0 {
		return nil, &apperr.Error{
			Reason: apperr.PeerUnreachable, What: e.app + " could not be reached", Cause: "it has no address",
			Reached: apperr.ReachedNo, Instance: e.to.Instance,
		}
	}
	if e.call.RPC == nil && rpc.IsExchange(e.call.Fields) {
		return e.proxy(ctx)
	}
	if e.call.Upgrade != "" {
		return nil, &apperr.Error{
			Reason: apperr.ProtocolError, What: "the upgrade to " + e.call.Upgrade + " cannot cross to " + e.app,
			Cause:   "its sidecar is spoken with in Dapr's protocol, which has no upgrades",
			Hint:    "pillion's own has them: start both sidecars by pillion, with pillion run or --enable-mtls",
			Reached: apperr.ReachedNo, Instance: e.to.Instance,
		}
	}
	return e.local(ctx)
}

// stream sends c to the peer as one HTTP/2 stream. If the peer proves that it
// did not take it, as one does that leaves, it is sent once more on another
// connection, unless its body is gone.
func (e *exchange) stream(ctx context.Context, c *invoke.Call, extra invoke.Fields) (*invoke.Answer, error) {
	if left := rpc.Timeout(ctx); left != "" {
		extra = append(extra, invoke.Field{Name: "grpc-timeout", Value: left})
	}
	body, again := invoke.Whole(c.Body)
	for ; ; again = false {
		l, err := e.t.get(ctx, e.place())
		if err != nil {
			closeBody(c)
			return nil, e.unreachable(ctx, err)
		}
		attempt := *c
		if again && c.Body != nil {
			attempt.Body = invoke.BytesBody(body)
		}
		answer, err := l.RoundTrip(ctx, &attempt, &h2.Request{Scheme: e.scheme(), Authority: e.addr(), Extra: extra})
		if err == nil {
			return answer, nil
		}
		if own, ok := errors.AsType[*h2.BodyError](err); !again || ok && own != nil || ctx.Err() != nil || h2.Evidence(err).Reached() != apperr.ReachedNo {
			return nil, e.broken(ctx, err)
		}
	}
}

func closeBody(c *invoke.Call) {
	if c.Body != nil {
		_ = c.Body.Close() // the call's own error is the one to report
	}
}

// keep makes a small body that is there one that can be sent again, and any
// other one that cannot.
func keep(body invoke.Body) invoke.Body {
	if body == nil {
		return nil
	}
	if data, ok := invoke.Whole(body); ok && len(data) <= maxAgain {
		data = bytes.Clone(data)
		_ = body.Close() // all of it has been read
		return invoke.BytesBody(data)
	}
	return once{body}
}

// held is the call's body, read before anything is sent if it is known to be
// small, as Dapr has it: it can be sent again then.
func (e *exchange) held(ctx context.Context) (invoke.Body, error) {
	body := keep(e.call.Body)
	from, ok := body.(once)
	if !ok || e.call.Length < 0 || e.call.Length > maxAgain {
		return body, nil
	}
	watch := callctx.OnEnd(ctx, func() { _ = from.Close() }) // ends the reading
	defer watch.Stop()
	data, err := io.ReadAll(from)
	if err != nil {
		return nil, e.broken(ctx, &h2.Error{Evidence: invoke.Evidence{NotWritten: true}, Err: &h2.BodyError{Err: err}})
	}
	_ = from.Close() // all of it has been read
	return invoke.BytesBody(data), nil
}

// once is a body that hides that it is there.
type once struct{ invoke.Body }

// broken is the error of an exchange that had begun.
func (e *exchange) broken(ctx context.Context, err error) *apperr.Error {
	reached := h2.Evidence(err).Reached()
	if ctx.Err() != nil {
		return e.given(ctx, reached)
	}
	if own, ok := errors.AsType[*h2.BodyError](err); ok {
		if known, ok := errors.AsType[*apperr.Error](own.Err); ok {
			return known
		}
		return &apperr.Error{
			Reason: apperr.Cancelled, Hop: apperr.HopCaller, What: "the caller's body broke off", Cause: own.Err.Error(),
			Reached: reached, Instance: e.to.Instance, Err: err,
		}
	}
	if e.t.isClosed() {
		err = errClosing
	}
	reason, what := apperr.PeerGone, "the connection to "+e.app+" broke"
	if reached == apperr.ReachedNo {
		reason, what = apperr.PeerUnreachable, e.app+" could not be reached"
	}
	return &apperr.Error{
		Reason: reason, What: what, Cause: err.Error(), Reached: reached, Instance: e.to.Instance, Err: err,
	}
}

// proxy carries a gRPC exchange as it is.
func (e *exchange) proxy(ctx context.Context) (*invoke.Answer, error) {
	c := *e.call
	c.Fields, c.Body = c.Fields.Clone(), keep(c.Body)
	for _, name := range []string{fieldTarget, "grpc-timeout", fieldCallee, fieldCaller} {
		c.Fields.Del(name)
	}
	answer, err := e.stream(ctx, &c, invoke.Fields{
		{Name: fieldCaller, Value: e.t.cfg.Self.App()}, {Name: fieldCallee, Value: e.app},
	})
	if err == nil && !rpc.IsGRPC(answer) {
		_ = answer.Body.Close() // its status says enough
		return nil, e.notDapr("the status " + strconv.Itoa(answer.Status))
	}
	return answer, err
}

func (e *exchange) notDapr(cause string) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.ProtocolError, What: "the sidecar of " + e.app + " at " + e.addr() + " does not speak Dapr's protocol",
		Cause:    cause,
		Hint:     "sidecars with mutual TLS and without do not speak to each other: start both the same way",
		Instance: e.to.Instance,
	}
}

// local carries a call by CallLocalStream; by CallLocal if the peer is too old
// for that and the body is still there.
func (e *exchange) local(ctx context.Context) (*invoke.Answer, error) {
	body, err := e.held(ctx)
	if err != nil {
		return nil, err
	}
	data, kept := invoke.Whole(body)
	from, err := newSender(
		&internalsv1.InternalInvokeRequestStream{Request: request(e.call)}, body,
		func(p *commonv1.StreamPayload) proto.Message {
			return &internalsv1.InternalInvokeRequestStream{Payload: p}
		},
	)
	if err != nil {
		return nil, unsendable(err)
	}
	var out invoke.Body = from
	if kept { // all at once
		all, err := io.ReadAll(from)
		if err != nil {
			return nil, unsendable(err)
		}
		out = invoke.BytesBody(all)
	}
	got, err := e.ask(ctx, callLocalStream, out, e.read)
	if said, ok := errors.AsType[*rpc.Status](err); ok && said.Code == rpc.Unimplemented {
		if !kept {
			return nil, &apperr.Error{
				Reason: apperr.ProtocolError, What: "the sidecar of " + e.app + " is too old for bodies that cannot be sent twice",
				Cause: "it does not know CallLocalStream", Hint: "upgrade Dapr there", Instance: e.to.Instance,
			}
		}
		e.t.log.Warn("a sidecar is too old for streams; its messages are sent whole", "app", e.app, "peer", e.addr())
		return e.unary(ctx, data)
	}
	return got, err
}

// unary carries a call by CallLocal.
func (e *exchange) unary(ctx context.Context, data []byte) (*invoke.Answer, error) {
	in := request(e.call)
	in.Message.Data.Value = data
	message, err := proto.Marshal(in)
	if err != nil {
		return nil, unsendable(err)
	}
	got, err := e.ask(ctx, callLocal, invoke.BytesBody(rpc.Frame(message)), e.readWhole)
	if said, ok := errors.AsType[*rpc.Status](err); ok {
		return nil, e.notDapr(said.Message)
	}
	return got, err
}

// ask sends messages to a method of Dapr's service, and reads what comes.
func (e *exchange) ask(
	ctx context.Context, method string, body invoke.Body, read func(context.Context, *invoke.Answer) (*invoke.Answer, error),
) (*invoke.Answer, error) {
	c := &invoke.Call{Verb: http.MethodPost, Path: method, Major: 2, Body: body, Length: -1, Fields: e.head()}
	answer, err := e.stream(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	if !rpc.IsGRPC(answer) {
		_ = answer.Body.Close() // its status says enough
		return nil, e.notDapr("it answered with the status " + strconv.Itoa(answer.Status))
	}
	got, err := read(ctx, answer)
	if err != nil {
		_ = answer.Body.Close() // err is the one to report
		return nil, err
	}
	return got, nil
}

func unsendable(err error) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.ProtocolError, What: "the call cannot be put into a message", Cause: err.Error(), Reached: apperr.ReachedNo, Err: err,
	}
}

// head are the lines of an exchange of Dapr's service: gRPC's own, and the
// trace.
func (e *exchange) head() invoke.Fields {
	fields := invoke.Fields{{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"}}
	for _, name := range []string{"traceparent", "tracestate", "baggage"} {
		if v := e.call.Fields.Get(name); v != "" {
			fields.Add(name, v)
		}
	}
	if trace := rpc.BinaryTrace(e.call.Fields.Get("traceparent")); trace != nil {
		fields.Add(rpc.TraceBin, rpc.Text(trace))
	}
	return fields
}

// next reads a message into m. What ended the exchange is io.EOF if all is well,
// and a *rpc.Status if the peer does not know the method.
func (e *exchange) next(ctx context.Context, from *invoke.Answer, messages *rpc.Reader, m proto.Message) error {
	data, err := messages.Next()
	switch {
	case errors.Is(err, io.EOF):
		ended := rpc.StatusOf(from.Fields, from.Body.Trailers())
		switch ended.Code {
		case rpc.OK:
			return io.EOF
		case rpc.Unimplemented:
			return ended
		}
		return e.said(ended)
	case err != nil:
		return e.broken(ctx, err)
	}
	if err := proto.Unmarshal(data, m); err != nil {
		return e.notDapr("a message of its is none: " + err.Error())
	}
	return nil
}

// read makes an answer of the messages that come.
func (e *exchange) read(ctx context.Context, from *invoke.Answer) (*invoke.Answer, error) {
	messages := rpc.NewReader(from.Body, e.t.cfg.MaxMessage)
	first := new(internalsv1.InternalInvokeResponseStream)
	switch err := e.next(ctx, from, messages, first); {
	case errors.Is(err, io.EOF):
		return nil, e.notDapr("its answer has no message")
	case err != nil:
		return nil, err
	}
	head := first.GetResponse()
	if head.GetStatus() == nil || head.GetHeaders() == nil && head.GetMessage() == nil {
		return nil, e.notDapr("response does not contain the required fields in the leading chunk")
	}
	body := &receiver{close: from.Body.Close, next: func() (*commonv1.StreamPayload, error) {
		m := new(internalsv1.InternalInvokeResponseStream)
		if err := e.next(ctx, from, messages, m); err != nil {
			return nil, err
		}
		if m.GetResponse() != nil {
			return nil, e.notDapr("response metadata found in non-leading chunk")
		}
		return m.GetPayload(), nil
	}}
	if err := body.take(first.GetPayload()); err != nil {
		return nil, e.notDapr(err.Error())
	}
	return e.answer(head, body)
}

// readWhole makes an answer of the one message that comes.
func (e *exchange) readWhole(ctx context.Context, from *invoke.Answer) (*invoke.Answer, error) {
	head := new(internalsv1.InternalInvokeResponse)
	switch err := e.next(ctx, from, rpc.NewReader(from.Body, e.t.cfg.MaxMessage), head); {
	case errors.Is(err, io.EOF):
		return nil, e.notDapr("its answer has no message")
	case err != nil:
		return nil, err
	case head.GetStatus() == nil:
		return nil, e.notDapr("its answer has no status")
	}
	return e.answer(head, &receiver{
		rest: head.GetMessage().GetData().GetValue(), failed: io.EOF, close: from.Body.Close,
	})
}

// answer is what the app said.
func (e *exchange) answer(head *internalsv1.InternalInvokeResponse, body *receiver) (*invoke.Answer, error) {
	code := head.GetStatus().GetCode()
	if code < 100 {
		return e.fromGRPC(head, body)
	}
	a := &invoke.Answer{Status: int(code), Major: 1, Fields: fromLists(head.GetHeaders()), Body: body, Length: -1}
	if kind := head.GetMessage().GetContentType(); kind != "" {
		a.Fields.Set("Content-Type", kind)
	}
	if length := head.GetHeaders()["content-length"].GetValues(); len(length) == 1 {
		if n, err := strconv.ParseInt(length[0], 10, 64); err == nil && n >= 0 {
			a.Length = n
		}
	}
	return a, nil
}
