package invoke

import (
	"net/netip"

	"github.com/pillion-dev/pillion/tls/identity"
)

// origin is what the caller's sidecar says of itself in forwarded fields.
type origin struct {
	forwardedFor string // X-Forwarded-For
	host         string // X-Forwarded-Host
	forwarded    string // Forwarded, RFC 7239
}

func newOrigin(addr netip.Addr, host string) origin {
	if !addr.IsValid() {
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	node := addr.String()
	if addr.Is6() {
		node = `"[` + node + `]"` // RFC 7239 §6.1
	}
	return origin{
		forwardedFor: addr.String(),
		host:         host,
		forwarded:    "for=" + node + ";by=" + node + ";host=" + host,
	}
}

// extend adds the sidecar's own line behind those that came, as Dapr does.
func (o origin) extend(f *Fields) {
	f.Add("X-Forwarded-For", o.forwardedFor)
	f.Add("X-Forwarded-Host", o.host)
	f.Add("Forwarded", o.forwarded)
}

// identify says who calls whom. Lines that claim to must have been stripped.
func identify(f *Fields, caller identity.ID, callee string) {
	name(f, caller.App(), caller.Namespace(), callee)
}

// name says who calls whom; of a caller that said nothing, nothing.
func name(f *Fields, app, namespace, callee string) {
	if app != "" {
		f.Add(FieldCallerApp, app)
	}
	if namespace != "" {
		f.Add(FieldCallerNamespace, namespace)
	}
	f.Add(FieldCalleeApp, callee)
}

// isIdentity reports whether a field claims to say who calls whom.
func isIdentity(name string) bool {
	return hasPrefixFold(name, "dapr-caller-") || hasPrefixFold(name, "dapr-callee-")
}

// guard makes sure that what may not come as a field does not come behind c's
// body: some servers put trailers among the fields.
func guard(c *Call) {
	if c.Body == nil {
		return
	}
	if _, trailers, ok := Complete(c.Body); ok && len(trailers) == 0 {
		return
	}
	c.Body = guardedBody{c.Body}
}

type guardedBody struct{ Body }

func (b guardedBody) Trailers() Fields      { return guardTrailers(b.Body.Trailers()) }
func (b guardedBody) Whole() ([]byte, bool) { return Whole(b.Body) }
func (b guardedBody) Held() (int64, bool)   { return Held(b.Body) }
func (b guardedBody) Line() (any, int64)    { return Line(b.Body) }

func (b guardedBody) Complete() ([]byte, Fields, bool) {
	rest, trailers, ok := Complete(b.Body)
	return rest, guardTrailers(trailers), ok
}
