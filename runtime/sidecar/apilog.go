package sidecar

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

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
	if !s.cfg.APILogging {
		return nil
	}
	if s.env.Records != nil {
		return s.recordCall
	}
	return func(c httpapi.APICall) {
		c.AppID = s.cfg.AppID
		s.say(Notice{Text: "level=info " + c.String()})
	}
}

// recordCall writes a door's line into Dapr's log.
func (s *sidecar) recordCall(c httpapi.APICall) {
	attrs := []any{
		"code", c.Code, "duration", c.Duration.Milliseconds(), "method", c.Method, "scope", scopeAPILog, "size", c.Size,
	}
	if c.Target != "" {
		attrs = append(attrs, "target", c.Target)
	}
	if c.UserAgent != "" {
		attrs = append(attrs, "useragent", c.UserAgent)
	}
	s.callLog().Info("HTTP API Called", attrs...)
}

// callLog is Dapr's log for calls, which --log-level does not silence.
func (s *sidecar) callLog() *slog.Logger {
	return slog.New(s.env.Records.Also(kept{s}).From(slog.LevelInfo))
}

// sayCall says what is known of a call beside what Dapr says: pairs of names, in
// their order, and values.
func (s *sidecar) sayCall(message string, pairs ...any) {
	if s.env.Records != nil {
		s.callLog().Info(message, pairs...) //nolint:sloglint // two messages there are
		return
	}
	text := "level=info msg=" + strconv.Quote(message) + " app_id=" + s.cfg.AppID
	for i := 0; i+1 < len(pairs); i += 2 {
		text += fmt.Sprintf(" %s=%v", pairs[i], pairs[i+1])
	}
	s.say(Notice{Text: text})
}

// logPeers says whose certificate the answering sidecar had.
func (s *sidecar) logPeers(next invoke.Handler) invoke.Handler {
	return invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		target := c.Target.App
		answer, err := next.Serve(ctx, c)
		if err == nil && !answer.Peer.IsZero() {
			s.sayCall("call answered", "code", answer.Status, "instance", answer.Instance,
				"peer", answer.Peer.String(), "self", s.workload.ID().String(), "target", target)
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
	l.sayCall("call received", "caller", r.Caller, "code", code, "duration", r.Ended.Sub(r.Began).Milliseconds(),
		"method", l.quotedHere(r.Verb+" "+withoutQuery(r.Path)), "self", l.workload.ID().String())
}

// quotedHere is s in quotes, unless Dapr's log puts it in some.
func (s *sidecar) quotedHere(text string) string {
	if s.env.Records != nil {
		return text
	}
	return strconv.Quote(text)
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
