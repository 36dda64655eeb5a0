package httpapi

import (
	"net/http"
	"strings"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An ask is what the doors look at in a request, whichever engine has read it.
// Of a field that came more than once it has the first value.
type ask struct {
	verb   string
	target string // as on the wire
	host   string

	app           string // dapr-app-id
	authorization string
	callee        string // dapr-callee-app-id
	contentType   string
	origin        string
	fetchSite     string
	token         string
	timeout       string
	grpcTimeout   string
	corsMethod    string // of a preflight
}

// askOf is what net/http has read.
func askOf(r *http.Request) *ask {
	return &ask{
		verb: r.Method, target: r.RequestURI, host: r.Host,
		app:           r.Header.Get(fieldTarget),
		authorization: r.Header.Get("Authorization"),
		callee:        r.Header.Get(invoke.FieldCalleeApp),
		contentType:   r.Header.Get("Content-Type"),
		origin:        r.Header.Get("Origin"),
		fetchSite:     r.Header.Get("Sec-Fetch-Site"),
		token:         r.Header.Get(invoke.FieldToken),
		timeout:       r.Header.Get(invoke.FieldTimeout),
		grpcTimeout:   r.Header.Get("Grpc-Timeout"),
		corsMethod:    r.Header.Get(corsMethodField),
	}
}

const corsMethodField = "Access-Control-Request-Method"

// read notes the fields it knows. once is false if one of them came more than
// once.
func (a *ask) read(fields invoke.Fields) (once bool) {
	once = true
	seen := 0
	for i := range fields {
		to, bit := a.place(fields[i].Name)
		if to == nil {
			continue
		}
		if seen&bit != 0 {
			once = false
			continue
		}
		seen |= bit
		*to = fields[i].Value
	}
	return once
}

// place is where the value of a field goes, and a bit of its own; nil if nobody
// looks at it.
func (a *ask) place(name string) (to *string, bit int) {
	known := ""
	switch len(name) {
	case 6:
		known, to, bit = "origin", &a.origin, 1<<0
	case 11:
		known, to, bit = fieldTarget, &a.app, 1<<1
	case 12:
		known, to, bit = "content-type", &a.contentType, 1<<2
		if name[0]|0x20 == 'g' {
			known, to, bit = "grpc-timeout", &a.grpcTimeout, 1<<3
		}
	case 13:
		known, to, bit = "authorization", &a.authorization, 1<<4
	case 14:
		known, to, bit = invoke.FieldToken, &a.token, 1<<5
		if name[0]|0x20 == 's' {
			known, to, bit = "sec-fetch-site", &a.fetchSite, 1<<6
		}
	case 15:
		known, to, bit = invoke.FieldTimeout, &a.timeout, 1<<7
	case 18:
		known, to, bit = invoke.FieldCalleeApp, &a.callee, 1<<8
	case 29:
		known, to, bit = corsMethodField, &a.corsMethod, 1<<9
	}
	if to == nil || !strings.EqualFold(name, known) {
		return nil, 0
	}
	return to, bit
}

// endsHere reports whether a field is the door's and goes no further.
func (s *Server) endsHere(name string) bool {
	switch len(name) {
	case len(fieldTarget):
		return strings.EqualFold(name, fieldTarget)
	case len(invoke.FieldTimeout):
		return strings.EqualFold(name, invoke.FieldTimeout)
	case len(invoke.FieldToken):
		return s.cfg.APIToken != "" && strings.EqualFold(name, invoke.FieldToken)
	}
	return false
}

// isGRPC reports whether the request is a gRPC exchange.
func (a *ask) isGRPC() bool {
	const grpc = "application/grpc"
	kind := a.contentType
	if !strings.HasPrefix(kind, grpc) {
		return false
	}
	return len(kind) == len(grpc) || kind[len(grpc)] == '+' || kind[len(grpc)] == ';'
}

// preflight reports whether a browser asks what a page may do.
func (a *ask) preflight() bool { return a.verb == http.MethodOptions && a.corsMethod != "" }
