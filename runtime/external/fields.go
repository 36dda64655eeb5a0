package external

import (
	"net/http"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// isKept reports whether a field stays inside the mesh: what is of one hop,
// what says who is called and who calls, tokens for sidecars and apps, and what
// says through whom a call came.
func isKept(name string) bool {
	if invoke.OfOneHop(name, nil) || invoke.IsReserved(name) {
		return true
	}
	lower := strings.ToLower(name)
	switch lower {
	case "dapr-api-token", "dapr-app-id", "forwarded", "expect", "trailer":
		return true
	}
	for _, prefix := range []string{"dapr-caller-", "dapr-callee-", "x-forwarded-"} {
		if strings.HasPrefix(lower, prefix) {
			return true
		}
	}
	return false
}

// isCredential reports whether a field is for the host it was meant for only.
func isCredential(name string) bool {
	switch strings.ToLower(name) {
	case "authorization", "cookie", "cookie2", "www-authenticate":
		return true
	}
	return false
}

// header is what is sent with r.
func (x *exchange) header(r request) http.Header {
	c := x.call
	h := make(http.Header, len(c.Fields)+4)
	for _, f := range c.Fields {
		if isKept(f.Name) || x.foreign && isCredential(f.Name) || r.verb != c.Verb && isOfBody(f.Name) {
			continue
		}
		h.Add(f.Name, f.Value)
	}
	if !x.foreign {
		for _, f := range x.to.headers {
			h.Set(f.Name, f.Value)
		}
	}
	if _, said := h["User-Agent"]; !said {
		h["User-Agent"] = []string{""} // else net/http says its own
	}
	if c.Upgrade != "" {
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", c.Upgrade)
	}
	if isGRPC(c) {
		h.Set("Te", "trailers")
	}
	if c.Expect && r.body.stream != nil {
		h.Set("Expect", "100-continue")
	}
	return h
}

// isOfBody reports whether a field describes a body, so that it goes where the
// body goes.
func isOfBody(name string) bool {
	switch strings.ToLower(name) {
	case "content-type", "content-encoding", "content-language", "content-location":
		return true
	}
	return false
}

// fieldsOf are the lines of a head, names in order, with those that follow the
// body announced.
func fieldsOf(h, trailer http.Header) invoke.Fields {
	fields := make(invoke.Fields, 0, len(h)+8) // room for what doors add
	for _, name := range sorted(h) {
		for _, value := range h[name] {
			fields.Add(name, value)
		}
	}
	if len(trailer) > 0 {
		fields.Add("Trailer", strings.Join(sorted(trailer), ", "))
	}
	return fields
}

func sorted(h http.Header) []string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
