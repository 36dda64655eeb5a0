package sidecar

import (
	"context"
	"fmt"
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
	return func(c httpapi.APICall) {
		c.AppID = s.cfg.AppID
		s.say(Notice{Text: "level=info " + c.String()})
	}
}

// logPeers says whose certificate the answering sidecar had.
func (s *sidecar) logPeers(next invoke.Handler) invoke.Handler {
	return invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		target := c.Target.App
		answer, err := next.Serve(ctx, c)
		if err == nil && !answer.Peer.IsZero() {
			s.say(Notice{Text: fmt.Sprintf(
				`level=info msg="call answered" app_id=%s code=%d instance=%s peer=%s self=%s target=%s`,
				s.cfg.AppID, answer.Status, answer.Instance, answer.Peer, s.workload.ID(), target,
			)})
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
	l.say(Notice{Text: fmt.Sprintf(
		`level=info msg="call received" app_id=%s caller=%s code=%d duration=%d method=%s self=%s`,
		l.cfg.AppID, r.Caller, code, r.Ended.Sub(r.Began).Milliseconds(),
		strconv.Quote(r.Verb+" "+withoutQuery(r.Path)), l.workload.ID(),
	)})
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
