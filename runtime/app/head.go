package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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
	for _, f := range c.Fields {
		if skipped(f.Name, named) || (h.token != "" && strings.EqualFold(f.Name, invoke.FieldToken)) {
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
	return invoke.OfOneHop(name, named) || invoke.IsReserved(name) || strings.EqualFold(name, "expect")
}

// An answerHead is the head of an answer as it stands on the wire.
type answerHead struct {
	status int
	minor  byte // of HTTP/1.x
	fields invoke.Fields
}

// readHead reads one head. started is true if at least one byte of it came.
func readHead(br *bufio.Reader) (head answerHead, started bool, err error) {
	raw, err := readBlock(br, maxLeading)
	if err != nil {
		return head, len(raw) > 0, err
	}
	status, rest, _ := strings.Cut(string(raw), "\n")
	if head.status, head.minor, err = parseStatus(trimCR(status)); err != nil {
		return head, true, err
	}
	head.fields, err = parseFields(rest)
	return head, true, err
}

// maxLeading is how many empty lines before a head are skipped.
const maxLeading = 4

// readBlock reads lines up to and including the first empty one, which is not
// returned. RFC 9112 §2.2: a lone LF ends a line as well, and some empty lines
// before a head are skipped.
func readBlock(br *bufio.Reader, leading int) ([]byte, error) {
	block := make([]byte, 0, 512)
	begins := true // the next bytes are the beginning of a line
	for {
		line, err := br.ReadSlice('\n')
		if begins && isEmptyLine(line) && err == nil {
			if len(block) > 0 || leading == 0 {
				return block, nil
			}
			leading--
			continue
		}
		if block = append(block, line...); len(block) > maxHead {
			return block, malformed("more than %d KiB of header fields", maxHead>>10)
		}
		begins = err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return block, err
		}
	}
}

func isEmptyLine(line []byte) bool {
	return string(line) == "\n" || string(line) == "\r\n"
}

func trimCR(line string) string { return strings.TrimSuffix(line, "\r") }

// parseStatus reads "HTTP/1.1 200 OK"; the phrase may be missing, with its
// blank.
func parseStatus(line string) (status int, minor byte, err error) {
	const version = "HTTP/1."
	if !strings.HasPrefix(line, version) || len(line) < len("HTTP/1.1 200") || line[8] != ' ' ||
		line[7] < '0' || line[7] > '9' || (len(line) > 12 && line[12] != ' ') {
		return 0, 0, malformed("no HTTP/1.1 status line but %s", strconv.Quote(cut(line)))
	}
	for _, digit := range []byte(line[9:12]) {
		if digit < '0' || digit > '9' {
			return 0, 0, malformed("no HTTP/1.1 status line but %s", strconv.Quote(cut(line)))
		}
		status = status*10 + int(digit-'0')
	}
	if status < 100 {
		return 0, 0, malformed("the status %03d", status)
	}
	return status, line[7] - '0', nil
}

// cut shortens what is quoted in a message.
func cut(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// parseFields reads header or trailer lines as they stand, in their order.
func parseFields(block string) (invoke.Fields, error) {
	if block == "" {
		return nil, nil
	}
	fields := make(invoke.Fields, 0, strings.Count(block, "\n"))
	for line := range strings.SplitSeq(strings.TrimSuffix(block, "\n"), "\n") {
		line = trimCR(line)
		if line == "" {
			continue
		}
		field, err := parseField(line, &fields)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field)
	}
	return fields, nil
}

// parseField reads one line. A folded one takes the line before it, which it
// continues, off fields.
func parseField(line string, fields *invoke.Fields) (invoke.Field, error) {
	name, value, found := strings.Cut(line, ":")
	if line[0] == ' ' || line[0] == '\t' {
		// RFC 9112 §5.2: a folded line is unfolded by whoever passes it on.
		last := len(*fields) - 1
		if last < 0 {
			return invoke.Field{}, malformed("a folded line before the first field")
		}
		before := (*fields)[last]
		*fields = (*fields)[:last]
		name, value, found = before.Name, before.Value+" "+strings.Trim(line, " \t"), true
	}
	// RFC 9112 §5.1: blanks before the colon are removed from an answer.
	name, value = strings.TrimRight(name, " \t"), strings.Trim(value, " \t")
	if !found || !isToken(name) {
		return invoke.Field{}, malformed("a header line %s", strconv.Quote(cut(line)))
	}
	if !isValue(value) {
		return invoke.Field{}, malformed("control characters in the field %s", name)
	}
	return invoke.Field{Name: name, Value: value}, nil
}

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// isTarget reports whether s can stand in a request line as it is.
func isTarget(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return s != "" && s[0] == '/'
}

// isValue reports whether s can stand in a field line as it is.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' && c != '\t') || c == 0x7f {
			return false
		}
	}
	return true
}

// unexpected makes an end in the middle an error of its own.
func unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // bufio and net give it bare
		return io.ErrUnexpectedEOF
	}
	return err
}
