package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
)

// explain makes err, whatever it is, what the caller is told. A proof that the
// last connection did not carry the call is none for the one before.
func (a *App) explain(ctx context.Context, h *handover, err error) *apperr.Error {
	e := a.explainLast(ctx, h, err)
	if !h.seen || e.Reached == apperr.ReachedMaybe {
		return e
	}
	out := *e
	out.Reached = apperr.ReachedMaybe
	return &out
}

func (a *App) explainLast(ctx context.Context, h *handover, err error) *apperr.Error {
	if told, ok := errors.AsType[*apperr.Error](err); ok {
		return told
	}
	evidence := proofOf(err)
	evidence.NotWritten = evidence.NotWritten || !h.touched.Load()
	out := *a.reason(ctx, h, err) // it may be one that others have, too
	out.Reached = evidence.Reached()
	out.Err = err
	return &out
}

func (a *App) reason(ctx context.Context, h *handover, err error) *apperr.Error {
	var (
		wrong *malformedError
		body  *bodyError
		dial  *dialError
	)
	switch {
	case errors.Is(err, errDrained):
		return refusal("this instance is leaving")
	case errors.Is(err, errHoldOver):
		return a.errClosed(h.held)
	case ctx.Err() != nil:
		return a.errContext(ctx, h)
	case errors.Is(err, errPoolClosed):
		return refusal("this instance is leaving")
	case isTimeUp(ctx) && h.touched.Load():
		return a.errTimeUp(h)
	case errors.As(err, &wrong):
		return &apperr.Error{
			Reason: apperr.ProtocolError, Hop: apperr.HopApp,
			What: a.cfg.Name + " gave an answer that is not HTTP", Cause: wrong.what,
			Hint: a.protocolHint(),
		}
	case errors.As(err, &body):
		return errBody(body)
	case errors.As(err, &dial):
		return &apperr.Error{
			Reason: apperr.AppUnreachable,
			What:   fmt.Sprintf("%s app port %d took no connection", possessive(a.cfg.Name), a.Port()),
			Cause:  dialCause(dial.err),
		}
	case isRefused(err):
		return &apperr.Error{Reason: apperr.Refused, Hop: apperr.HopApp, What: a.cfg.Name + " refused the call", Cause: "its HTTP/2 did not process the stream"}
	default:
		e := &apperr.Error{
			Reason: apperr.AppGone,
			What:   a.cfg.Name + " closed the connection before it answered",
			Cause:  plainCause(err),
		}
		if p, _ := a.gate.now(); p == restarting {
			e.Cause += ": it is being started anew"
		}
		return e
	}
}

// protocolHint is the flag to try if an app's answer makes no sense.
func (a *App) protocolHint() string {
	switch a.cfg.Protocol {
	case protoHTTP:
		return "if it does not speak HTTP/1.1, say so with --app-protocol"
	case protoHTTPS, protoGRPCS:
		return "if it does not speak TLS, say so with --app-protocol"
	default:
		return "if it does not speak HTTP/2, leave out --app-protocol " + a.cfg.Protocol
	}
}

// rounding is how much earlier than ours a time-out may end that an app was
// told of in whole milliseconds.
const rounding = 5 * time.Millisecond

// isTimeUp reports whether the call's time is as good as up: an app that was
// told how much is left gives up by itself, a moment before we do.
func isTimeUp(ctx context.Context) bool {
	deadline, bounded := ctx.Deadline()
	return bounded && time.Until(deadline) < rounding
}

// errContext says that the caller's time is up, or that it has gone.
func (a *App) errContext(ctx context.Context, h *handover) *apperr.Error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errAbandoned(callctx.Cause(ctx))
	}
	return a.errTimeUp(h)
}

func (a *App) errTimeUp(h *handover) *apperr.Error {
	now := time.Now()
	where := "all of it waiting for " + a.cfg.Name + " to be ready"
	switch {
	case !h.sent.IsZero():
		where = roughly(now.Sub(h.sent)) + " of it in the app"
	case h.held == 0:
		where = "all of it waiting for the app's maximum concurrency"
	}
	reached := apperr.ReachedMaybe
	if h.sent.IsZero() {
		reached = apperr.ReachedNo
	}
	text := "context deadline exceeded after " + roughly(now.Sub(h.began)) + ", " + where
	return &apperr.Error{
		Reason: apperr.DeadlineExceeded, What: text, Dapr: "DEADLINE_EXCEEDED: " + text, Reached: reached,
	}
}

// errAbandoned says why a call that was under way was given up.
func errAbandoned(cause error) *apperr.Error {
	if told, ok := errors.AsType[*apperr.Error](cause); ok {
		return told
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		const text = "context deadline exceeded while the app answered"
		return &apperr.Error{Reason: apperr.DeadlineExceeded, What: text, Dapr: "DEADLINE_EXCEEDED: " + text, Err: cause}
	}
	return &apperr.Error{Reason: apperr.Cancelled, What: "the caller has gone", Err: cause}
}

// roughly is d with two digits that say something.
func roughly(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}

// errBodyCut says that the app closed the connection within its answer.
func errBodyCut(err error) error {
	if body, ok := errors.AsType[*bodyError](err); ok {
		return errBody(body)
	}
	return &apperr.Error{
		Reason: apperr.AppGone,
		What:   "the app closed the connection before its answer was complete",
		Err:    err,
	}
}

// errBody is a bodyError as the caller sees it.
func errBody(err *bodyError) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.Cancelled, What: "the caller's body broke off", Cause: err.err.Error(),
		Hop: apperr.HopCaller, Err: err,
	}
}

// protocolError is a malformed answer found when its head was already given.
func protocolError(err error) error {
	return &apperr.Error{
		Reason: apperr.ProtocolError, Hop: apperr.HopApp,
		What: "the app gave an answer that is not HTTP", Cause: err.Error(), Err: err,
	}
}

// badCall refuses a call that cannot be written for an app.
func badCall(reason apperr.Reason, what string) error {
	return &apperr.Error{Reason: reason, Hop: apperr.HopPeer, What: what, Reached: apperr.ReachedNo}
}

// refusal is the answer to a call that this instance would have to hold.
func refusal(what string) *apperr.Error {
	return &apperr.Error{Reason: apperr.Refused, What: what, Reached: apperr.ReachedNo}
}

func errTooMany(limits HoldLimits) error {
	return &apperr.Error{
		Reason: apperr.HoldExceeded, Reached: apperr.ReachedNo,
		What: fmt.Sprintf("%d calls wait for the app already", limits.Calls),
	}
}

func errTooMuch(limits HoldLimits) error {
	return &apperr.Error{
		Reason: apperr.HoldExceeded, Reached: apperr.ReachedNo,
		What: fmt.Sprintf("calls with %d KiB wait for the app already", limits.Bytes>>10),
	}
}

// errClosed says that the app's port is closed, and what its process listens
// on instead.
func (a *App) errClosed(held time.Duration) *apperr.Error {
	port := a.Port()
	if port == 0 {
		e := a.errNoPort(nil)
		e.Cause = "held " + roughly(held) + " while it started"
		return e
	}
	what := fmt.Sprintf("%s app port %d is closed", possessive(a.cfg.Name), port)
	e := &apperr.Error{
		Reason: apperr.AppUnreachable, Reached: apperr.ReachedNo,
		What: what, Cause: "held " + roughly(held) + " for it to open",
		Hint: fmt.Sprintf("start what listens on %d, or give --app-port", port),
	}
	if listens := a.listens(); len(listens) > 0 && !slices.Contains(listens, port) {
		return a.errMistaken(listens)
	}
	e.Dapr = "connection refused: " + what
	return e
}

// errMistaken says that the app's process listens elsewhere.
func (a *App) errMistaken(listens []uint16) *apperr.Error {
	what := fmt.Sprintf("%s app port %d is closed", possessive(a.cfg.Name), a.Port())
	cause := "its process listens on " + ports(listens)
	hint := "start it with --app-port " + strconv.Itoa(int(listens[0]))
	if len(listens) > 1 {
		hint = "start it with --app-port and one of them"
	}
	return &apperr.Error{
		Reason: apperr.AppUnreachable, Reached: apperr.ReachedNo, What: what, Cause: cause, Hint: hint,
		// In Dapr's place and in one piece; cause and hint are in it.
		Dapr: "connection refused: " + what + ", " + cause + "; " + hint,
	}
}

// errNoPort says that the app only calls others; ignored are the ports that it
// opened all the same.
func (a *App) errNoPort(ignored []uint16) *apperr.Error {
	e := &apperr.Error{
		Reason: apperr.AppHasNoPort, Reached: apperr.ReachedNo,
		What: a.cfg.Name + " has no app port", Dapr: "app channel is not initialized",
		Cause: a.cfg.Name + " has no app port",
		Hint:  "start it with --app-port <port>",
	}
	if len(ignored) > 0 {
		e.Cause = a.cfg.Name + " listens on " + ports(ignored) + ", where nothing answers HTTP"
	}
	return e
}

// errUndecided says that the app listens on several ports.
func (a *App) errUndecided(candidates []uint16) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.AppHasNoPort, Reached: apperr.ReachedNo,
		What: a.cfg.Name + " answers HTTP on several ports", Dapr: "app channel is not initialized",
		Cause: a.cfg.Name + " answers HTTP on " + ports(candidates),
		Hint:  "start it with --app-port and one of them",
	}
}

// errExited says that the app's process has ended. Its instance leaves, and
// another may come: whoever calls decides whether to wait for one.
func (a *App) errExited(status string) *apperr.Error {
	what := a.cfg.Name + " has exited"
	return &apperr.Error{
		Reason: apperr.Refused, Hop: apperr.HopApp, Reached: apperr.ReachedNo,
		What: what, Dapr: "connection refused: " + what, Cause: status,
		Hint: "see its last lines with pillion logs " + a.cfg.Name,
	}
}

// errFailed says that there is no process of the app, and that it waits for
// somebody.
func (a *App) errFailed(why string) *apperr.Error {
	what := a.cfg.Name + " does not run and waits for a change of its files"
	return &apperr.Error{
		Reason: apperr.AppUnhealthy, Reached: apperr.ReachedNo,
		What: what, Dapr: "app is not in a healthy state: " + what, Cause: why,
		Hint: "see its last lines with pillion logs " + a.cfg.Name,
	}
}

// ports is a list for a sentence: "8002", "3000 and 8080".
func ports(list []uint16) string {
	words := make([]string, len(list))
	for i, port := range list {
		words[i] = strconv.Itoa(int(port))
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func possessive(name string) string { return name + "'s" }

// dialCause is what was seen when a connection could not be made.
func dialCause(err error) string {
	var timeout net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || (errors.As(err, &timeout) && timeout.Timeout()) {
		return "no answer within " + dialTimeout.String()
	}
	return plainCause(err)
}

// plainCause is the innermost fact of a network error.
func plainCause(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if lapse, ok := errors.AsType[*lapseError](err); ok {
		return lapse.err.Error()
	}
	return err.Error()
}

func isReset(err error) bool { return errors.Is(err, errReset) }
