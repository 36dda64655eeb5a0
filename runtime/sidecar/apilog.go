package sidecar

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// The lines of --enable-api-logging. A door's line is Dapr's, so that what
// searches daprd's log finds it here; the other two say who each side of the
// mesh verified the other to be, which Dapr does not say. Calls are read from
// the tap; what a door answers by itself, its own routes and errors, it says
// itself.

func (s *sidecar) doorLog() func(httpapi.APICall) {
	if !s.logsAPI() {
		return nil
	}
	write := s.recordCall
	if s.env.Records == nil {
		write = func(c httpapi.APICall) {
			c.AppID = s.cfg.AppID
			s.say(Notice{Record: true, Text: "level=info " + c.String()})
		}
	}
	return httpapi.FilterLog(s.resources.current().Configuration.APILogging, write)
}

// logsAPI reports whether there is an API log.
func (s *sidecar) logsAPI() bool {
	return s.cfg.LogsAPI(s.resources.current().Configuration.APILogging)
}

// recordCall writes a door's line into Dapr's log.
func (s *sidecar) recordCall(c httpapi.APICall) {
	attrs := []slog.Attr{
		slog.Int("code", c.Code), slog.Int64("duration", c.Duration.Milliseconds()), slog.String("method", c.Method),
	}
	scope, message := scopeGRPCLog, "gRPC API Called"
	if !c.GRPC {
		scope, message = scopeHTTPLog, "HTTP API Called"
		attrs = append(attrs, slog.Int64("size", c.Size))
	}
	if c.Target != "" {
		attrs = append(attrs, slog.String("target", c.Target))
	}
	if c.UserAgent != "" {
		attrs = append(attrs, slog.String("useragent", c.UserAgent))
	}
	s.calls.Say(slog.LevelInfo, scope, message, attrs...)
}

// sayCall says what is known of a call beside what Dapr says. The attributes
// come in the order of their names.
func (s *sidecar) sayCall(message string, attrs ...slog.Attr) {
	if s.env.Records != nil {
		s.calls.Say(slog.LevelInfo, scopeHTTPLog, message, attrs...)
		return
	}
	var text strings.Builder
	text.WriteString("level=info msg=" + strconv.Quote(message) + " app_id=" + s.cfg.AppID)
	for _, a := range attrs {
		value := a.Value.String()
		if strings.Contains(value, " ") {
			value = strconv.Quote(value)
		}
		text.WriteString(" " + a.Key + "=" + value)
	}
	s.say(Notice{Record: true, Text: text.String()})
}

// logPeers says whose certificate the answering sidecar had.
func (s *sidecar) logPeers(next invoke.Handler) invoke.Handler {
	return invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		target := c.Target.App
		answer, err := next.Serve(ctx, c)
		if err == nil && !answer.Peer.IsZero() {
			s.sayCall("call answered", slog.Int("code", answer.Status), slog.String("instance", answer.Instance),
				slog.String("peer", answer.Peer.String()), slog.String("self", s.workload.ID().String()),
				slog.String("target", target))
		}
		return answer, err
	})
}

// An apiLog reads the calls. It keeps no body.
type apiLog struct{ *sidecar }

var _ invoke.Tap = apiLog{}

// Want implements invoke.Tap. Calls that came through no door are not its own,
// and Dapr's own service says itself what it was asked.
func (apiLog) Want(side invoke.Side, c *invoke.Call) int {
	if side == invoke.AtCaller && (c.Asked == "" || c.RPC != nil) {
		return -1
	}
	return 0
}

// Seen implements invoke.Tap.
func (l apiLog) Seen(r *invoke.Record) {
	if r.Side == invoke.AtCallee {
		l.received(r)
		return
	}
	answered := r.Status == http.StatusSwitchingProtocols || r.Status >= 200 && r.Status <= 999 // else the door answers
	if !answered {
		return
	}
	call := httpapi.APICall{
		Method: r.Verb + " " + httpapi.PlainPath(r.Asked), Code: r.Status, Duration: r.Ended.Sub(r.Began),
		Size: r.AnswerSize, UserAgent: r.Request.Get("User-Agent"), Target: r.Target.Given,
		Route: httpapi.CallRoute(r.Target.Given),
	}
	if rpc.IsExchange(r.Request) {
		call.GRPC, call.Method = true, r.Asked
		call.Code = int(rpc.StatusOf(r.Answer, r.Trailers).Code)
	}
	l.doorLog()(call)
}

// received says whose certificate the calling sidecar had.
func (l apiLog) received(r *invoke.Record) {
	code := r.Status
	if r.Err != nil {
		code = r.Err.Reason.HTTPStatus()
	}
	method := r.Verb + " " + withoutQuery(r.Path)
	if l.resources.current().Configuration.APILogging.ObfuscateURLs {
		method = httpapi.CallRoute(l.cfg.AppID)
	}
	l.sayCall("call received", slog.String("caller", r.Caller), slog.Int("code", code),
		slog.Int64("duration", r.Ended.Sub(r.Began).Milliseconds()),
		slog.String("method", method), slog.String("self", l.workload.ID().String()))
}

// withoutQuery is path as it may be logged: a query can hold secrets.
func withoutQuery(path string) string {
	for i := range len(path) {
		if path[i] == '?' {
			return path[:i]
		}
	}
	return path
}
