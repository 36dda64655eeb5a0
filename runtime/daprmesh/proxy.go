package daprmesh

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// proxy gives the app a gRPC exchange under its own name, its messages
// untouched.
func (s *Server) proxy(ctx *callctx.Context, x *h2.Stream) {
	fields := x.Fields()
	target := fields.Get(fieldCallee)
	if target == "" {
		target = fields.Get(fieldTarget)
	}
	if target == "" {
		s.fail(x, &apperr.Error{
			Reason: apperr.TargetMissing, What: "the exchange names no app",
			Dapr: "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found", Reached: apperr.ReachedNo,
		})
		return
	}
	if left, ok := rpc.ParseTimeout(fields.Get("grpc-timeout")); ok {
		ctx.Limit(time.Now().Add(left))
	}
	name, namespace, _ := strings.Cut(target, ".")
	c := &invoke.Call{
		Target: invoke.Target{App: name, Namespace: namespace, Given: target}, Verb: x.Method(), Path: x.Path(), Major: 2,
		Caller: callerOf(ctx), Host: x.Authority(), Remote: x.Remote(), Fields: kept(fields), Length: x.Length(),
	}
	if body := x.Body(); body != nil {
		c.Body = body
	}
	answer, err := s.cfg.Handler.Serve(ctx, c)
	if err != nil {
		s.fail(x, apperr.From(err))
		return
	}
	cut := func(err error) invoke.Fields { return trailersOnly(apperr.From(err))[1:] }
	if err := x.Answer(answer, cut); err != nil {
		s.log.Debug("answer broke off", "method", x.Path(), "err", err)
	}
}

// kept are an exchange's lines without those that end here.
func kept(fields invoke.Fields) invoke.Fields {
	out := make(invoke.Fields, 0, len(fields)+8) // room for what identifies the caller
	for _, f := range fields {
		if f.Name != fieldTarget && f.Name != "content-length" && f.Name != "host" {
			out = append(out, f)
		}
	}
	return out
}

// fail ends an exchange that has no answer.
func (s *Server) fail(x *h2.Stream, e *apperr.Error) {
	_ = x.Begin(http.StatusOK, trailersOnly(e), -1, true) // a client that is gone cannot be told
}

// trailersOnly is e as a gRPC head that is all there is.
func trailersOnly(e *apperr.Error) invoke.Fields {
	code := e.Reason.GRPC()
	return invoke.Fields{
		{Name: "content-type", Value: "application/grpc"},
		{Name: "grpc-status", Value: strconv.FormatUint(uint64(code), 10)},
		{Name: "grpc-message", Value: rpc.Percent(e.Message())},
		{Name: "grpc-status-details-bin", Value: base64.RawStdEncoding.EncodeToString(e.StatusProto(code, e.Message()))},
	}
}
