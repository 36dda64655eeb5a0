package mtls

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pillion-dev/pillion/tls/identity"
)

// ServerOptions are what a listener answers to.
type ServerOptions struct {
	// Labels reports whether a server name is one of ours. It is called for
	// each connection, concurrently, before anything is sent. Nil: no name is.
	Labels func(serverName string) bool
	// NextProtos are the protocols (ALPN) spoken here, best first. Required: a
	// client that names none of them is refused.
	NextProtos []string
	// Foreign are protocols that are spoken here, too, with clients that know
	// none of our labels. They are shown our certificate as soon as they name
	// one of these.
	Foreign []string
}

// Server is the configuration of the mesh listener. A client sees nothing of
// our certificate before it has named one of our labels and protocols, or a
// foreign protocol; it must have a valid certificate of our trust domain. Who it
// is, is for PeerID; what it may do, for others to decide.
func (w *Workload) Server(o ServerOptions) *tls.Config {
	known := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             slices.Concat(o.NextProtos, o.Foreign),
		SessionTicketsDisabled: true,
		// A link carries many calls from its first byte.
		DynamicRecordSizingDisabled: true,
		ClientAuth:                  tls.RequireAnyClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return w.current.Load().certificate, nil
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, wrong := w.verifyPeer(cs, "the caller")
			if wrong != nil {
				return wrong
			}
			return nil
		},
	}
	foreign := known.Clone()
	foreign.NextProtos = slices.Clone(o.Foreign)
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if o.Labels == nil || !o.Labels(hello.ServerName) {
				if slices.ContainsFunc(hello.SupportedProtos, func(proto string) bool { return slices.Contains(o.Foreign, proto) }) {
					return foreign, nil
				}
				return nil, fmt.Errorf("no app here has the label %q", hello.ServerName)
			}
			// A client that names other protocols is told so, before our
			// certificate is sent; one that names none would be let in.
			if len(hello.SupportedProtos) == 0 {
				return nil, errors.New("the client names no protocol")
			}
			return known, nil
		},
	}
}

// Client is the configuration of a connection to the app want and to nobody
// else, found under serverName, its label. Our own certificate is not sent
// before the peer's has been verified. It serves any number of connections.
func (w *Workload) Client(want identity.ID, serverName string, protos ...string) *tls.Config {
	return w.client(serverName, protos, func(cs tls.ConnectionState) error {
		got, wrong := w.verifyPeer(cs, nameOf(want))
		if wrong != nil {
			return wrong
		}
		if want.IsZero() || got != want {
			return wrongPeer(want, got)
		}
		return nil
	})
}

// AnyClient is Client for any workload of our trust domain. It is for
// learning who is at an address (PeerID); no call goes through such a
// connection.
func (w *Workload) AnyClient(serverName string, protos ...string) *tls.Config {
	return w.client(serverName, protos, func(cs tls.ConnectionState) error {
		_, wrong := w.verifyPeer(cs, "the peer")
		if wrong != nil {
			return wrong
		}
		return nil
	})
}

func (w *Workload) client(serverName string, protos []string, verify func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ServerName:             serverName,
		NextProtos:             slices.Clone(protos),
		SessionTicketsDisabled: true,
		// As at the other end.
		DynamicRecordSizingDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			// The peer could only answer with "bad certificate"; here the
			// reason is known.
			cr := w.current.Load()
			if wrong := w.ownValid(cr); wrong != nil {
				return nil, wrong
			}
			return cr.certificate, nil
		},
		// A peer is known by its identity, not by a host name: verify replaces
		// the check that this switches off, and runs at every handshake.
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies the chain and the SPIFFE ID
		VerifyConnection:   verify,
	}
}

// PeerID is who the peer of a connection made with one of these
// configurations is. It is an error before the handshake has completed.
func PeerID(cs tls.ConnectionState) (identity.ID, error) {
	if !cs.HandshakeComplete || len(cs.PeerCertificates) == 0 {
		return identity.ID{}, errors.New("read the peer's identity: no completed handshake")
	}
	return idOf(cs.PeerCertificates[0])
}

// Lifetime is when a connection takes no new calls and when it is cut: ahead of
// the end of the leaf that ends first, a fifth of what is left at most, and at it.
// own is when ours ends; nil is never. Zero times are never.
func Lifetime(cs tls.ConnectionState, own func() time.Time, ahead time.Duration) (until, expires time.Time) {
	if len(cs.PeerCertificates) > 0 {
		expires = cs.PeerCertificates[0].NotAfter
	}
	if own != nil {
		if ours := own(); !ours.IsZero() && (expires.IsZero() || ours.Before(expires)) {
			expires = ours
		}
	}
	if expires.IsZero() {
		return time.Time{}, time.Time{}
	}
	// Round strips the monotonic reading: certificates end by the wall clock,
	// also when the machine has slept.
	expires = expires.Round(0)
	return expires.Add(-min(ahead, time.Until(expires)/5)), expires
}
