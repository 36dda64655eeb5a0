package external

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
)

// problem is an error of the host at to.
func (x *exchange) problem(reason apperr.Reason, to location, cause string) *apperr.Error {
	e := &apperr.Error{
		Reason: reason, What: to.authority() + " could not be called", Cause: cause,
		Hop: apperr.HopPeer, Reached: apperr.ReachedMaybe,
	}
	if !x.wrote.Load() {
		e.Reached = apperr.ReachedNo
	}
	return e
}

// failure is what net/http's error means: where, what, and whether the host may
// have seen the call.
func (x *exchange) failure(ctx context.Context, to location, err error) *apperr.Error {
	if ctx.Err() != nil {
		e := x.problem(apperr.Cancelled, to, "the call was given up")
		e.Err = errors.Join(callctx.Cause(ctx), err)
		return e
	}
	e := x.problem(apperr.PeerGone, to, "the connection broke: "+bare(err).Error())
	e.Err = err
	var (
		name   *net.DNSError
		op     *net.OpError
		plain  tls.RecordHeaderError
		verify *tls.CertificateVerificationError
		alert  tls.AlertError
	)
	switch {
	case errors.As(err, &name):
		e.Reason, e.Hop, e.Cause = apperr.PeerUnreachable, apperr.HopNetwork, "the name "+name.Name+" was not found: "+name.Err
	case errors.As(err, &verify):
		e.Reason, e.Hop = apperr.PeerNotTrusted, apperr.HopTLS
		e.Cause = "its certificate is not trusted: " + strings.TrimPrefix(verify.Err.Error(), "x509: ")
		e.Hint = "give its authority to the system, or as spec.clientTLS.rootCA of an HTTPEndpoint"
	case errors.As(err, &plain):
		e.Reason, e.Hop, e.Cause = apperr.ProtocolError, apperr.HopTLS, "it does not speak TLS"
		e.Hint = "try http:// in place of https://"
	case errors.As(err, &alert):
		e.Reason, e.Hop, e.Cause = apperr.PeerNotTrusted, apperr.HopTLS, "it ended the handshake: "+strings.TrimPrefix(alert.Error(), "tls: ")
	case errors.As(err, &op) && op.Op == "dial":
		e.Reason, e.Hop, e.Cause = apperr.PeerUnreachable, apperr.HopNetwork, dialCause(op, to)
	case strings.Contains(err.Error(), "TLS handshake timeout"):
		e.Reason, e.Hop = apperr.PeerUnreachable, apperr.HopTLS
		e.Cause = fmt.Sprintf("no TLS handshake within %v", connectTimeout)
	case strings.Contains(err.Error(), "malformed"):
		e.Reason, e.Cause = apperr.ProtocolError, "its answer is no HTTP: "+bare(err).Error()
	case strings.Contains(err.Error(), "server response headers exceeded"), strings.Contains(err.Error(), "response header list larger"):
		e.Reason, e.Cause = apperr.HeadTooLarge, fmt.Sprintf("the head of its answer is larger than %d bytes", maxHead)
	}
	return e
}

// dialCause is why there is no connection.
func dialCause(op *net.OpError, to location) string {
	address := ""
	if op.Addr != nil && op.Addr.String() != to.authority() {
		address = op.Addr.String() + ": " // what the name stands for
	}
	switch {
	case errors.Is(op, syscall.ECONNREFUSED):
		return address + "connection refused"
	case errors.Is(op, os.ErrDeadlineExceeded) || op.Timeout():
		return address + fmt.Sprintf("no connection within %v", connectTimeout)
	}
	return address + bare(op.Err).Error()
}

// bare is the innermost error that says something: what is around it names
// what the message names already.
func bare(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if call, ok := errors.AsType[*os.SyscallError](err); ok {
		err = call.Err
	}
	return err
}
