// Package callback gives calls to an app that speaks gRPC: Dapr calls such an
// app's AppCallback.OnInvoke, whoever asks and however. It stands before the
// app as a stage of the callee's side, and makes no connection itself.
package callback

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// The methods of an app that are called.
const (
	onInvoke    = "/dapr.proto.runtime.v1.AppCallback/OnInvoke"
	healthCheck = "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck"
)

// DefaultMaxMessage is the size of a message if nothing else is said: Dapr's.
const DefaultMaxMessage = 4 << 20

// Options say what the app is.
type Options struct {
	// Name is the app's id, for messages.
	Name string
	// SpeaksGRPC is true if the app does.
	SpeaksGRPC bool
	// MaxMessage bounds a message in bytes, both ways. Zero: 4 MiB; below zero:
	// 2 GiB, the most that gRPC can say.
	MaxMessage int
}

// Stage is what stands before the app. A gRPC exchange passes as it is: it is
// for a service of the app's own.
func Stage(o Options) invoke.Stage {
	switch {
	case o.MaxMessage == 0:
		o.MaxMessage = DefaultMaxMessage
	case o.MaxMessage < 0:
		o.MaxMessage = 1<<31 - 1
	}
	return func(next invoke.Handler) invoke.Handler {
		if !o.SpeaksGRPC {
			return overHTTP{next}
		}
		return &callback{Options: o, next: next}
	}
}

// overHTTP gives an app that speaks HTTP what InvokeService calls.
type overHTTP struct{ next invoke.Handler }

func (h overHTTP) Serve(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
	if e := c.OverHTTP(); e != nil {
		return nil, e
	}
	return h.next.Serve(ctx, c)
}

// callback calls OnInvoke.
type callback struct {
	Options
	next invoke.Handler
}

func (h *callback) Serve(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
	if c.RPC == nil && rpc.IsExchange(c.Fields) {
		return h.next.Serve(ctx, c)
	}
	request, err := h.request(c)
	if err != nil {
		return nil, err
	}
	call := *c // the taps keep the one that came
	call.Verb, call.Path, call.Major, call.RPC = http.MethodPost, onInvoke, 2, nil
	call.Upgrade, call.Expect, call.Informational = "", false, nil
	call.Fields = append(metadata(c), invoke.Field{Name: "content-type", Value: "application/grpc"})
	call.Body, call.Length = invoke.BytesBody(request), int64(len(request))
	answer, err := h.next.Serve(ctx, &call)
	if err != nil {
		return nil, unavailable(err)
	}
	if !rpc.IsGRPC(answer) {
		_ = answer.Body.Close() // its status says enough
		return nil, h.notGRPC(answer)
	}
	if c.RPC != nil {
		return answer, nil
	}
	return h.answer(answer)
}

// request is the framed InvokeRequest of a call, whose body it reads.
func (h *callback) request(c *invoke.Call) ([]byte, error) {
	r := rpc.Request{Extended: true, Verb: c.Verb, ContentType: c.Fields.Get("content-type")}
	if c.RPC != nil {
		r.Extended, r.TypeURL = c.RPC.Extended, c.RPC.TypeURL
	}
	path, query, _ := strings.Cut(c.Path, "?")
	r.Query = query
	r.Method = strings.TrimPrefix(path, "/")
	if plain, err := url.PathUnescape(r.Method); err == nil {
		r.Method = plain
	}
	if c.Body != nil {
		var err error
		if r.Data, err = h.body(c); err != nil {
			return nil, err
		}
	}
	message, err := r.Marshal()
	if err != nil {
		return nil, &apperr.Error{
			Reason: apperr.ProtocolError, What: "the call cannot be put into a message", Cause: err.Error(), Reached: apperr.ReachedNo, Err: err,
		}
	}
	return rpc.Frame(message), nil
}

func (h *callback) body(c *invoke.Call) ([]byte, error) {
	if c.Length > int64(h.MaxMessage) {
		return nil, h.tooLarge(strconv.FormatInt(c.Length, 10))
	}
	data, err := rpc.ReadAll(c.Body, h.MaxMessage)
	switch {
	case err == nil:
		_ = c.Body.Close() // it has been read
		return data, nil
	case errors.As(err, new(*rpc.Status)):
		return nil, h.tooLarge("more")
	}
	if e, ok := errors.AsType[*apperr.Error](err); ok {
		return nil, e
	}
	return nil, &apperr.Error{
		Reason: apperr.Cancelled, Hop: apperr.HopCaller, What: "the caller's body broke off", Cause: err.Error(),
		Reached: apperr.ReachedNo, Err: err,
	}
}

func (h *callback) tooLarge(size string) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.BodyTooLarge, What: "the body is too large for " + h.Name, Dapr: "stream too large",
		Cause:   fmt.Sprintf("%s speaks gRPC, whose messages are held whole: at most %d bytes, not %s", h.Name, h.MaxMessage, size),
		Hint:    "raise --max-body-size at " + h.Name,
		Reached: apperr.ReachedNo,
	}
}

// metadata is a call's head as the app gets it.
func metadata(c *invoke.Call) invoke.Fields {
	var fields invoke.Fields
	if c.RPC != nil {
		fields = rpc.Metadata(c.Fields)
	} else {
		fields = rpc.ToMetadata(c.Fields)
		if c.Body != nil && c.Length >= 0 {
			fields.Add("dapr-content-length", strconv.FormatInt(c.Length, 10))
		}
	}
	if fields.Has(rpc.TraceBin) {
		return fields
	}
	if trace := rpc.BinaryTrace(fields.Get("traceparent")); trace != nil {
		fields.Add(rpc.TraceBin, rpc.Text(trace))
	}
	return fields
}

// unavailable is the error of a call that the app did not take, with Dapr's
// status for one that speaks gRPC.
func unavailable(err error) error {
	e := apperr.From(err)
	if e.Reason != apperr.AppUnreachable && e.Reason != apperr.AppGone {
		return e
	}
	changed := *e
	changed.Reason = apperr.GRPCAppUnavailable
	return &changed
}

// notGRPC is the error of an app that answers as something else.
func (h *callback) notGRPC(a *invoke.Answer) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.ProtocolError, Hop: apperr.HopApp, What: h.Name + " gave an answer that is not gRPC",
		Cause: fmt.Sprintf("the status %d and the type %q", a.Status, a.Fields.Get("content-type")),
		Hint:  "if it speaks HTTP, say so with --app-protocol",
	}
}

// answer is what the app said, as HTTP.
func (h *callback) answer(a *invoke.Answer) (*invoke.Answer, error) {
	defer func() { _ = a.Body.Close() }() // it was read to its end, or is of no use
	out := *a
	out.Major, out.Phrase, out.Fields = 1, "", rpc.ToHeader(rpc.Metadata(a.Fields))
	status, response, err := h.read(a)
	if err != nil {
		return nil, err
	}
	if status.Code != rpc.OK {
		out.Status = rpc.HTTPStatus(status.Code)
		response = rpc.Response{Data: status.JSON(), ContentType: "application/json"}
	}
	if response.ContentType != "" {
		out.Fields.Add("Content-Type", response.ContentType)
	}
	out.Body, out.Length = invoke.BytesBody(response.Data), int64(len(response.Data))
	return &out, nil
}

// read reads an answer to its end. What is wrong with it is a status, as
// gRPC's own clients say it.
func (h *callback) read(a *invoke.Answer) (*rpc.Status, rpc.Response, error) {
	message, ok, err := rpc.ReadMessage(a.Body, h.MaxMessage)
	if status, is := errors.AsType[*rpc.Status](err); is {
		return status, rpc.Response{}, nil
	}
	if err != nil {
		return nil, rpc.Response{}, unavailable(err)
	}
	status := rpc.StatusOf(a.Fields, a.Body.Trailers())
	var response rpc.Response
	switch {
	case status.Code != rpc.OK:
	case !ok:
		status = &rpc.Status{Code: rpc.Internal, Message: h.Name + " answered without a message"}
	default:
		if err := response.Unmarshal(message); err != nil {
			status = &rpc.Status{Code: rpc.Internal, Message: h.Name + "'s answer is no InvokeResponse: " + err.Error()}
		}
	}
	return status, response, nil
}
