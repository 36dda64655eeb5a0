package app

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An answerHead is the head of an answer.
type answerHead struct {
	status int
	minor  byte // of HTTP/1.x
	phrase string
	// fields are the lines as they stand on the wire, in their order, without
	// those that belong to this connection.
	fields invoke.Fields
	length int64 // -1 without a Content-Length
	coding string
	// stays says that the app asked for the connection to be kept, and leaves
	// that it asked for the opposite, which counts more.
	stays, leaves bool
	// upgrade is the protocol the app names.
	upgrade string
}

// head reads the head of an answer. One string holds all of it.
func (c *conn) head() (answerHead, error) {
	block, lines, err := c.block(maxLeading)
	if err != nil {
		return answerHead{}, err
	}
	return parseHead(string(block), lines)
}

func parseHead(block string, lines int) (answerHead, error) {
	status, rest := cutLine(block)
	h := answerHead{length: -1}
	if err := h.parseStatus(status); err != nil {
		return h, err
	}
	return h, h.parseFields(rest, lines-1)
}

// alive reports whether the connection may be used for another exchange.
func (h *answerHead) alive() bool { return !h.leaves && (h.stays || h.minor > 0) }

// cutLine takes the first line off a block of whole ones, without its end.
func cutLine(block string) (line, rest string) {
	line, rest, _ = strings.Cut(block, "\n")
	return trimCR(line), rest
}

func trimCR(line string) string {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// parseStatus reads "HTTP/1.1 200 OK"; the phrase may be missing, with its
// blank.
func (h *answerHead) parseStatus(line string) error {
	const version = "HTTP/1."
	if !strings.HasPrefix(line, version) || len(line) < len("HTTP/1.1 200") || line[8] != ' ' ||
		!isDigit(line[7]) || (len(line) > 12 && line[12] != ' ') {
		return malformed("no HTTP/1.1 status line but %s", strconv.Quote(cut(line)))
	}
	for _, digit := range []byte(line[9:12]) {
		if !isDigit(digit) {
			return malformed("no HTTP/1.1 status line but %s", strconv.Quote(cut(line)))
		}
		h.status = h.status*10 + int(digit-'0')
	}
	if h.status < 100 {
		return malformed("the status %03d", h.status)
	}
	h.minor = line[7] - '0'
	h.phrase = phraseOf(h.status, strings.Trim(line[12:], " \t"))
	return nil
}

// phraseOf is phrase as an Answer has it. One that could not stand in a head is
// left out, so that the usual one takes its place.
func phraseOf(status int, phrase string) string {
	switch {
	case phrase == http.StatusText(status) || !isValue(phrase):
		return ""
	case phrase == "":
		return invoke.EmptyPhrase
	default:
		return phrase
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// cut shortens what is quoted in a message.
func cut(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// parseFields reads the lines behind the first one.
func (h *answerHead) parseFields(block string, lines int) error {
	h.fields = make(invoke.Fields, 0, lines)
	var named []string
	for block != "" {
		field, rest, err := nextField(block)
		if err != nil {
			return err
		}
		block = rest
		switch kind := lineOf(field.Name); kind {
		case lineLength:
			err = h.addLength(field.Value)
		case lineCoding:
			h.addCoding(field.Value)
		case lineConnection:
			named = h.addConnection(named, field.Value)
		case lineUpgrade:
			if h.upgrade == "" {
				h.upgrade = field.Value
			}
		case lineHost, lineHop:
		case lineOrdinary, lineToken, lineExpect, lineReserved:
			h.fields = append(h.fields, field)
		}
		if err != nil {
			return err
		}
	}
	dropNamed(&h.fields, named)
	return nil
}

// nextField takes one line off the block, and the folded ones that continue it.
func nextField(block string) (field invoke.Field, rest string, err error) {
	line, rest := cutLine(block)
	colon := strings.IndexByte(line, ':')
	if isFolded(line) {
		return field, rest, malformed("a folded line before the first field")
	}
	if colon < 0 {
		return field, rest, malformed("a header line %s", strconv.Quote(cut(line)))
	}
	// RFC 9112 §5.1: blanks before the colon are removed from an answer.
	field.Name, field.Value = trimRight(line[:colon]), trim(line[colon+1:])
	if !isToken(field.Name) {
		return field, rest, malformed("a header line %s", strconv.Quote(cut(line)))
	}
	for isFolded(rest) { // §5.2: it is unfolded by whoever passes it on
		line, rest = cutLine(rest)
		field.Value = trim(field.Value + " " + trim(line))
	}
	if !isValue(field.Value) {
		return field, rest, malformed("control characters in the field %s", field.Name)
	}
	return field, rest, nil
}

func isFolded(line string) bool { return line != "" && isBlank(line[0]) }

// parseTrailers reads the lines behind a chunked body, without those that
// belong to this connection.
func parseTrailers(block string, lines int) (invoke.Fields, error) {
	if block == "" {
		return nil, nil
	}
	fields := make(invoke.Fields, 0, lines)
	var named []string
	for block != "" {
		field, rest, err := nextField(block)
		if err != nil {
			return nil, err
		}
		block = rest
		switch kind := lineOf(field.Name); kind {
		case lineConnection:
			named = append(named, invoke.Nominated(invoke.Fields{field})...)
		case lineLength, lineCoding, lineUpgrade, lineHost, lineHop:
		case lineOrdinary, lineToken, lineExpect, lineReserved:
			fields = append(fields, field)
		}
	}
	dropNamed(&fields, named)
	return fields, nil
}

// dropNamed removes the lines that a Connection line named.
func dropNamed(fields *invoke.Fields, named []string) {
	for _, name := range named {
		fields.Del(name)
	}
}

// addLength reads a Content-Length. Repeated equal values are one (RFC 9110
// §8.6).
func (h *answerHead) addLength(value string) error {
	for part := range strings.SplitSeq(value, ",") {
		n, err := strconv.ParseUint(trim(part), 10, 63)
		if err != nil || (h.length >= 0 && h.length != int64(n)) {
			return malformed("the content length %s", strconv.Quote(cut(value)))
		}
		h.length = int64(n)
	}
	return nil
}

func (h *answerHead) addCoding(value string) {
	if h.coding != "" {
		value = h.coding + ", " + value
	}
	h.coding = value
}

// addConnection reads a Connection line, and adds the lines it names to named.
func (h *answerHead) addConnection(named []string, value string) []string {
	for option := range strings.SplitSeq(value, ",") {
		switch option = trim(option); {
		case option == "":
		case strings.EqualFold(option, "close"):
			h.leaves = true
		case strings.EqualFold(option, "keep-alive"):
			h.stays = true
		case !strings.EqualFold(option, "upgrade"):
			named = append(named, option)
		}
	}
	return named
}

// tokens are the bytes of a token of RFC 9110 §5.6.2.
var tokens = func() (set [256]bool) {
	for c := '!'; c < 0x7f; c++ {
		set[c] = !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	}
	return set
}()

// isToken reports whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !tokens[s[i]] {
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

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// trim takes the blanks off both ends.
func trim(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	return trimRight(s)
}

func trimRight(s string) string {
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// unexpected makes an end in the middle an error of its own.
func unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // bufio and net give it bare
		return io.ErrUnexpectedEOF
	}
	return err
}
