package sidecar

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
	"github.com/pillion-dev/pillion/runtime/telemetry"
)

// onInvoke is the method that an app which speaks gRPC is called by.
const onInvoke = "/dapr.proto.runtime.v1.AppCallback/OnInvoke"

// codeInternal is what Dapr counts a call as that the app did not answer.
const codeInternal = 13

// countServed counts what the HTTP door answered. gRPC exchanges are counted
// where their status is known.
func (s *sidecar) countServed(one httpapi.Served) {
	if one.GRPC {
		return
	}
	s.metrics.HTTPServer(telemetry.Request{
		Verb: one.Verb, Path: one.Target, Status: one.Status, Sent: one.RequestSize, Received: one.Size, Took: one.Took,
	})
}

// measureCaller is the stage that counts the calls that the own app makes.
func (s *sidecar) measureCaller(next invoke.Handler) invoke.Handler {
	return invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		app, grpc, began := countedName(c.Target), isGRPC(c), time.Now()
		streaming := grpc && strings.EqualFold(c.Fields.Get("Dapr-Stream"), "true")
		method := c.Path
		s.metrics.CallSent(app, streaming)
		answer, err := next.Serve(ctx, c)
		switch {
		case err != nil && grpc:
			s.metrics.GRPCServer(telemetry.RPC{
				Method: withoutQuery(method), Code: int(apperr.From(err).Reason.GRPC()), Sent: -1, Received: -1, Took: time.Since(began),
			})
		case err != nil:
		case grpc:
			whenOver(answer, func(code int) {
				took := time.Since(began)
				s.metrics.GRPCServer(telemetry.RPC{Method: withoutQuery(method), Code: code, Sent: -1, Received: -1, Took: took})
				s.metrics.AnswerReceived(app, code, streaming, took)
			})
		case c.RPC != nil && rpc.IsGRPC(answer):
			whenOver(answer, func(code int) { s.metrics.AnswerReceived(app, code, false, time.Since(began)) })
		default:
			s.metrics.AnswerReceived(app, answer.Status, false, time.Since(began))
		}
		return answer, err
	})
}

// countedName is how a target is counted: the app, or what was given for one
// outside the mesh.
func countedName(t invoke.Target) string {
	if t.App == "" {
		return t.Given
	}
	return t.App
}

// measureCallee is the stage that counts the calls that the own app is given.
func (s *sidecar) measureCallee(next invoke.Handler) invoke.Handler {
	return invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		from, grpc, began := c.Caller.App(), isGRPC(c), time.Now()
		r := telemetry.Request{Verb: c.Verb, Path: c.Path, Sent: max(c.Length, 0)}
		s.metrics.CallReceived(from)
		answer, err := next.Serve(ctx, c)
		r.Took = time.Since(began)
		if err != nil {
			s.metrics.AnswerSent(from, codeInternal)
			s.countApp(r, grpc, apperr.From(err).Reason.GRPC())
			return answer, err
		}
		if grpc || s.speaksGRPC() && rpc.IsGRPC(answer) {
			s.countLater(answer, r, from, grpc)
			return answer, nil
		}
		s.metrics.AnswerSent(from, answer.Status)
		r.Status, r.Received = answer.Status, max(answer.Length, 0)
		s.countApp(r, false, rpc.Code(answer.Status))
		return answer, nil
	})
}

// countLater counts a gRPC answer once its status is known.
func (s *sidecar) countLater(a *invoke.Answer, r telemetry.Request, from string, proxied bool) {
	head := time.Now()
	whenOver(a, func(code int) {
		r.Took += time.Since(head)
		s.metrics.AnswerSent(from, code)
		s.countApp(r, proxied, uint32(code)) //nolint:gosec // a status of gRPC's
	})
}

// countApp counts what the app was asked, by HTTP or by gRPC with the status
// code. A request without a status has not been answered.
func (s *sidecar) countApp(r telemetry.Request, proxied bool, code uint32) {
	if !proxied && !s.speaksGRPC() {
		if r.Status == 0 {
			r.Status = http.StatusInternalServerError // as Dapr counts it
		}
		s.metrics.HTTPClient(r)
		return
	}
	method := onInvoke
	if proxied {
		method = withoutQuery(r.Path)
	}
	s.metrics.GRPCClient(telemetry.RPC{Method: method, Code: int(code), Sent: -1, Received: -1, Took: r.Took})
}

// whenOver calls done with the gRPC status of an answer: now if it is there,
// else at the end of the answer's body.
func whenOver(a *invoke.Answer, done func(code int)) {
	if code, ok := grpcStatus(a.Fields); ok {
		done(code)
		return
	}
	if _, trailers, ok := invoke.Complete(a.Body); ok {
		code, _ := grpcStatus(trailers)
		done(code)
		return
	}
	a.Body = &awaited{Body: a.Body, done: done}
}

// grpcStatus is the status among a head's or a trailer's lines; unknown if it
// cannot be read.
func grpcStatus(fields invoke.Fields) (code int, ok bool) {
	const unknown = 2
	text := fields.Get("Grpc-Status")
	if text == "" {
		return unknown, false
	}
	n, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		return unknown, true
	}
	return int(n), true
}

// awaited is the body of a gRPC answer whose status is not known yet. It is
// closed at any time.
type awaited struct {
	invoke.Body
	done func(code int)
	said atomic.Bool
}

func (a *awaited) say(code int) {
	if !a.said.Swap(true) {
		a.done(code)
	}
}

func (a *awaited) Trailers() invoke.Fields {
	trailers := a.Body.Trailers()
	if code, ok := grpcStatus(trailers); ok {
		a.say(code)
	}
	return trailers
}

func (a *awaited) Whole() ([]byte, bool) { return invoke.Whole(a.Body) }

func (a *awaited) Complete() ([]byte, invoke.Fields, bool) {
	rest, trailers, ok := invoke.Complete(a.Body)
	if code, said := grpcStatus(trailers); ok && said {
		a.say(code)
	}
	return rest, trailers, ok
}

// Close ends an answer that nobody has heard to its end: the caller has gone, or
// the app.
func (a *awaited) Close() error {
	const cancelled = 1
	a.say(cancelled)
	return a.Body.Close()
}
