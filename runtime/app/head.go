package app

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// maxHead bounds an answer's head, and its trailers.
const maxHead = 64 << 10

// A malformedError says what about the app's answer is not HTTP.
type malformedError struct{ what string }

func (e *malformedError) Error() string { return e.what }

func errLongHead() error { return malformed("more than %d KiB of header fields", maxHead>>10) }

func malformed(format string, args ...any) error {
	return &malformedError{what: fmt.Sprintf(format, args...)}
}

// appendRequest writes the head of a call for HTTP/1.1. Nothing of a call gets
// into the head unless it can stand there, whatever made the call.
func appendRequest(b []byte, h *handover, host string) ([]byte, error) {
	c := h.call
	if !isToken(c.Verb) || c.Verb == "CONNECT" {
		return nil, badCall(apperr.MethodRefused, "the method "+strconv.Quote(c.Verb)+" cannot be sent to an app")
	}
	if !isTarget(c.Path) {
		return nil, badCall(apperr.TargetInvalid, "the path "+strconv.Quote(c.Path)+" cannot be sent to an app")
	}
	b = append(b, c.Verb...)
	b = append(b, ' ')
	b = append(b, c.Path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	named := invoke.Nominated(c.Fields)
	for i := range c.Fields {
		f := &c.Fields[i]
		if kind := lineOf(f.Name); kind > lineToken || (kind == lineToken && h.token != "") || isNamed(f.Name, named) {
			continue
		}
		if !isToken(f.Name) || !isValue(f.Value) {
			return nil, badCall(apperr.ProtocolError, "the header "+strconv.Quote(f.Name)+" cannot be sent to an app")
		}
		b = appendField(b, f.Name, f.Value)
	}
	if h.token != "" {
		b = appendField(b, "dapr-api-token", h.token)
	}
	b = appendFraming(b, c)
	return append(b, "\r\n"...), nil
}

// appendFraming writes what belongs to this hop only.
func appendFraming(b []byte, c *invoke.Call) []byte {
	switch {
	case c.Body != nil && c.Length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case c.Body != nil:
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, c.Length, 10)
		b = append(b, "\r\n"...)
	case expectsLength(c.Verb):
		// Whatever Length says: the next call's head would be that body.
		b = append(b, "Content-Length: 0\r\n"...)
	}
	if c.Expect && c.Body != nil {
		b = append(b, "Expect: 100-continue\r\n"...)
	}
	if c.Upgrade != "" && isValue(c.Upgrade) {
		b = append(b, "Connection: Upgrade\r\n"...)
		b = appendField(b, "Upgrade", c.Upgrade)
	}
	return b
}

// expectsLength reports whether a request with this method says that it has no
// body (RFC 9110 §8.6).
func expectsLength(verb string) bool { return verb == "POST" || verb == "PUT" || verb == "PATCH" }

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// skipped reports whether a call's field is not for the app: framing, what
// belongs to one hop, and pillion's own.
func skipped(name string, named []string) bool {
	return lineOf(name) > lineToken || isNamed(name, named)
}

// A line is what a header line means to a connection.
type line uint8

const (
	lineOrdinary line = iota
	lineToken         // dapr-api-token
	// The following never pass from one hop to the next.
	lineLength
	lineCoding
	lineConnection
	lineUpgrade
	lineHost
	lineHop // the others that belong to one connection
	// Nor do these, of a request.
	lineExpect
	lineReserved
)

// lines are the names that mean something, by their length.
var lines = [...][]struct {
	name string
	kind line
}{
	2:  {{"te", lineHop}},
	4:  {{"host", lineHost}},
	6:  {{"expect", lineExpect}},
	7:  {{"upgrade", lineUpgrade}},
	10: {{"connection", lineConnection}, {"keep-alive", lineHop}},
	14: {{"content-length", lineLength}, {"dapr-api-token", lineToken}, {"http2-settings", lineHop}},
	16: {{"proxy-connection", lineHop}},
	17: {{"transfer-encoding", lineCoding}},
	18: {{"proxy-authenticate", lineHop}},
	19: {{"proxy-authorization", lineHop}},
}

// lineOf says what a line called name is: invoke.OfOneHop and
// invoke.IsReserved in one look.
func lineOf(name string) line {
	if len(name) < len(lines) {
		for _, known := range lines[len(name)] {
			if strings.EqualFold(name, known.name) {
				return known.kind
			}
		}
	}
	if invoke.IsReserved(name) {
		return lineReserved
	}
	return lineOrdinary
}

func isNamed(name string, named []string) bool {
	return slices.ContainsFunc(named, func(n string) bool { return strings.EqualFold(n, name) })
}
