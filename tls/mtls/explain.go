package mtls

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/tls/identity"
)

// Alerts by number (RFC 8446 §6), as tls.AlertError has them.
const (
	badCertificate         tls.AlertError = 42
	unsupportedCertificate tls.AlertError = 43
	certificateRevoked     tls.AlertError = 44
	certificateExpired     tls.AlertError = 45
	certificateUnknown     tls.AlertError = 46
	unknownCA              tls.AlertError = 48
	accessDenied           tls.AlertError = 49
	protocolVersion        tls.AlertError = 70
	internalError          tls.AlertError = 80
	unrecognizedName       tls.AlertError = 112
	certificateRequired    tls.AlertError = 116
	noApplicationProtocol  tls.AlertError = 120
)

// Explain says what an error of a handshake with peer means, or one of the
// first read after it: in TLS 1.3 a server's refusal of our certificate shows
// only there. peer may be nobody, for a caller. The result has ReachedNo where
// TLS itself proves that no data was accepted; connections that just broke are
// PeerUnreachable and left at ReachedMaybe, because only the reader knows what
// came before. Explain(nil) is nil.
func Explain(err error, peer identity.ID) *apperr.Error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*apperr.Error](err); ok {
		return known
	}
	name := nameOf(peer)
	var remote *net.OpError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &remote) && remote.Op == "remote error":
		return explainAlert(remote, name)
	case errors.As(err, &header):
		return notTrusted(name+" does not speak TLS there", "the first bytes from its address are not TLS; something else listens on it", err)
	case errors.Is(err, context.Canceled):
		return &apperr.Error{Reason: apperr.Cancelled, What: "the call was given up by its caller", Err: err}
	case isNetwork(err):
		return &apperr.Error{Reason: apperr.PeerUnreachable, What: name + " could not be reached", Cause: networkCause(err), Err: err}
	default:
		return notTrusted(name+" could not be verified", strings.TrimPrefix(err.Error(), "tls: "), err)
	}
}

func explainAlert(err *net.OpError, name string) *apperr.Error {
	alert := err.Err.Error() // the alert's type is not exported, its text is that of AlertError
	cause := "it answered: " + strings.TrimPrefix(alert, "tls: ")
	switch alert {
	case certificateExpired.Error():
		e := notTrusted(name+" says that our certificate has expired", "its clock or this one is wrong", err)
		e.Reason = apperr.CertNotValid
		return e
	case badCertificate.Error(), unsupportedCertificate.Error(), certificateRevoked.Error(), certificateUnknown.Error(),
		unknownCA.Error(), accessDenied.Error(), certificateRequired.Error():
		return notTrusted(name+" refused our certificate", cause+"; it trusts another CA, or one of the two clocks is wrong", err)
	case internalError.Error(), unrecognizedName.Error():
		return notTrusted(name+" is not at this address", "what answers there has no app of that label", err)
	case noApplicationProtocol.Error(), protocolVersion.Error():
		e := notTrusted(name+" speaks no protocol of ours", cause, err)
		e.Reason = apperr.ProtocolError
		return e
	default:
		return notTrusted(name+" broke off the handshake", cause, err)
	}
}

func notTrusted(what, cause string, err error) *apperr.Error {
	return &apperr.Error{
		Reason: apperr.PeerNotTrusted, What: what, Cause: cause,
		Hop: apperr.HopTLS, Reached: apperr.ReachedNo, Err: err,
	}
}

func isNetwork(err error) bool {
	var op *net.OpError
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &op) || errors.As(err, &network)
}

func networkCause(err error) string {
	var network net.Error
	var call *os.SyscallError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it closed the connection during the handshake"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "it did not answer the handshake in time"
	case errors.As(err, &call):
		return call.Err.Error()
	default:
		return err.Error()
	}
}
