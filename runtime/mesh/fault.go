package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// maxText bounds each text of an error that is too large for a frame.
const maxText = 2 << 10

// encodeFault is e as the payload of refused and reset.
func encodeFault(e *apperr.Error) []byte {
	if b, err := json.Marshal(e); err == nil && len(b) <= maxHead {
		return b
	}
	short := &apperr.Error{
		Reason: e.Reason, What: clip(e.What), Dapr: clip(e.Dapr), Cause: clip(e.Cause), Hint: clip(e.Hint),
		Hop: e.Hop, Reached: e.Reached, Instance: clip(e.Instance),
	}
	b, err := json.Marshal(short)
	if err != nil {
		return []byte("{}")
	}
	return b
}

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// parseFault reads what encodeFault wrote. What it says came from another
// machine, so it cannot hold anything that moves a terminal; and how far the
// call came is decided by the frame, not by the text.
func parseFault(payload []byte, reached apperr.Reached, instance string) *apperr.Error {
	e := &apperr.Error{}
	if err := json.Unmarshal(payload, e); err != nil {
		e = &apperr.Error{Reason: apperr.ProtocolError, What: "the answer is an error that cannot be read"}
	}
	for _, s := range [...]*string{&e.What, &e.Dapr, &e.Cause, &e.Hint, &e.Instance} {
		*s = printable(*s)
	}
	for i := range e.Run {
		e.Run[i] = printable(e.Run[i])
	}
	e.Reached = reached
	if e.Instance == "" {
		e.Instance = instance
	}
	return e
}

// printable is s with what is not to be printed escaped.
func printable(s string) string {
	if strings.IndexFunc(s, isUnprintable) < 0 && utf8.ValidString(s) {
		return s
	}
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }

// A peerName is whom an error is about.
type peerName struct {
	app      string
	addr     string
	instance string
}

func (p peerName) unreachable(cause string, err error) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.PeerUnreachable, What: p.app + " could not be reached", Cause: cause,
		Reached: invoke.Evidence{NotGreeted: true}.Reached(), Instance: p.instance, Err: err,
	}
}

// broken is the error of a call whose link ended with err.
func (p peerName) broken(err error, evidence invoke.Evidence) *apperr.Error {
	e := &apperr.Error{
		Reason: apperr.PeerGone, What: "the connection to " + p.app + " broke", Cause: p.ending(err),
		Reached: evidence.Reached(), Instance: p.instance, Err: err,
	}
	var v *violation
	switch {
	case errors.As(err, &v):
		e.Reason, e.What = apperr.ProtocolError, "the connection to "+p.app+" was cut off"
	case e.Reached == apperr.ReachedNo:
		e.Reason, e.What = apperr.PeerUnreachable, p.app+" could not be reached"
	}
	return e
}

// ending says how a link ended, for a person.
func (p peerName) ending(err error) string {
	var v *violation
	var a *aborted
	switch {
	case errors.As(err, &v):
		return p.addr + " broke the protocol: " + v.what
	case errors.As(err, &a):
		return p.addr + " cut the connection off: " + a.why
	case errors.Is(err, errFrozen):
		return fmt.Sprintf("%s did not answer for %v", p.addr, deadTicks*tick)
	case errors.Is(err, errExpired):
		return "a certificate of the connection to " + p.addr + " has expired"
	case errors.Is(err, errClosing):
		return "this sidecar is stopping"
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, connReset):
		return p.addr + " reset the connection"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return p.addr + " closed the connection"
	}
	return p.addr + ": " + plain(err)
}

// dialling says why addr could not be connected to, for a person.
func dialling(addr string, err error, patience time.Duration) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, connRefused):
		return addr + " refused the connection"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return fmt.Sprintf("%s did not answer within %v", addr, patience)
	}
	return addr + ": " + plain(err)
}

// told is an error in words for a person.
type told struct {
	words string
	err   error
}

func (t *told) Error() string { return t.words }
func (t *told) Unwrap() error { return t.err }

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// plain is the innermost text of an error of net's: "no route to host", not
// the operation and the address around it.
func plain(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// given is the error of a call whose context ended.
func given(ctx context.Context, app string, evidence invoke.Evidence) *apperr.Error {
	cause := callctx.Cause(ctx)
	if own, ok := errors.AsType[*apperr.Error](cause); ok {
		e := *own
		e.Reached = evidence.Reached()
		return &e
	}
	e := &apperr.Error{Reason: apperr.Cancelled, What: "the call to " + app + " was given up", Reached: evidence.Reached(), Err: cause}
	if errors.Is(cause, context.DeadlineExceeded) {
		e.Reason, e.What = apperr.DeadlineExceeded, "context deadline exceeded"
	}
	return e
}

// faultOf is a handler's error. Time that is up is nobody's bug, and a handler
// that says only that its call was given up need not know why.
func faultOf(ctx context.Context, err error) *apperr.Error {
	e := apperr.From(err)
	if e.Reason != apperr.Internal {
		return e
	}
	why, known := errors.AsType[*apperr.Error](callctx.Cause(ctx))
	switch {
	case known && errors.Is(err, ctx.Err()):
		return why
	case errors.Is(err, context.DeadlineExceeded):
		return &apperr.Error{Reason: apperr.DeadlineExceeded, What: "context deadline exceeded", Err: err}
	case errors.Is(err, context.Canceled):
		return &apperr.Error{Reason: apperr.Cancelled, What: "the call was given up", Err: err}
	}
	return e
}

// Why a link of ours ends, beside what the connection says.
var (
	errFrozen  = errors.New("the peer is silent")
	errExpired = errors.New("a certificate has expired")
	errClosing = invoke.ErrStopping
	errParted  = errors.New("nothing is left to do on this link")
	// errUnused means that a link cannot take a call, and nothing of the call
	// was queued on it.
	errUnused = errors.New("the link takes no calls")
)

// aborted means that the peer cut the link off, and why.
type aborted struct{ why string }

func (a *aborted) Error() string { return "cut off: " + a.why }
