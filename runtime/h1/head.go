package h1

import (
	"bytes"
	"strings"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// fieldRoom is the room kept behind a request's fields for those that the
// stages of a call add.
const fieldRoom = 8

// A Head is a request's head as it stands on the wire.
type Head struct {
	Verb string
	// Target is the request target: in origin or absolute form.
	Target string
	// Host is the authority the client addressed: that of the target if it is
	// in absolute form.
	Host string
	// Fields are the lines in their order, names in their case, without Host,
	// Expect, Content-Length and Transfer-Encoding.
	Fields invoke.Fields
	// Length is the body's length: -1 if it is chunked, 0 without one.
	Length int64
	// Expect is true if the client waits for 100 Continue.
	Expect bool
	// Close is true if the client wants the connection closed afterwards.
	Close bool
	// Upgrade is the list of protocols the client offers to switch to.
	Upgrade string
	// Old is true for HTTP/1.0, which knows no chunks and no 1xx answers.
	Old bool
}

// A verdict is what a parser says of the bytes it has looked at.
type verdict uint8

const (
	incomplete verdict = iota // more has to come
	taken                     // a request of ours
	foreign                   // for another engine
	refused                   // for nobody: two parsers could differ on it
)

// classes of bytes.
const (
	isToken  = 1 << iota // may stand in a name or method (RFC 9110 §5.6.2)
	isValue              // may stand in a field's value
	isTarget             // may stand in a request target; bytes beyond ASCII too
	isHost               // may stand in an authority without user and escapes
)

var classes = makeClasses()

func makeClasses() (t [256]uint8) {
	const alnum = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for _, c := range []byte(alnum + "!#$%&'*+-.^_`|~") {
		t[c] |= isToken
	}
	for _, c := range []byte(alnum + ".-_~:[]") {
		t[c] |= isHost
	}
	for c := 0x21; c <= 0xff; c++ {
		if c != 0x7f {
			t[c] |= isValue | isTarget
		}
	}
	t[' '] |= isValue
	t['\t'] |= isValue
	return t
}

// all reports whether s has only bytes of a class.
func all(s string, class uint8) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

// parser is a Head in the making.
type parser struct {
	Head
	why string // of refused

	hosts     int
	length    int64
	hasLength bool
	chunked   bool
	upgrades  bool // Connection lists upgrade
	keepAlive bool // Connection lists keep-alive
	foreign   bool
}

// parse reads a head: text ends with the CRLF of its last line, the empty line
// is not part of it.
func (p *parser) parse(text string) verdict {
	end := strings.IndexByte(text, '\n')
	if end < 1 || text[end-1] != '\r' {
		return p.refuse("a line that ends without CR")
	}
	v := p.requestLine(text[:end-1])
	if v != taken {
		return v
	}
	rest := text[end+1:]
	p.Fields = make(invoke.Fields, 0, strings.Count(rest, "\n")+fieldRoom)
	for rest != "" {
		end := strings.IndexByte(rest, '\n')
		if end < 1 || rest[end-1] != '\r' {
			return p.refuse("a line that ends without CR")
		}
		field, why := parseField(rest[:end-1])
		if why != "" {
			return p.refuse(why)
		}
		if !p.field(field) {
			return refused
		}
		rest = rest[end+1:]
	}
	return p.complete()
}

func (p *parser) refuse(why string) verdict {
	p.why = why
	return refused
}

func (p *parser) requestLine(line string) verdict {
	if strings.IndexByte(line, '\r') >= 0 {
		return p.refuse("a bare CR in the request line")
	}
	verb, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(rest, " ")
	p.Old = version == "HTTP/1.0"
	if version != "HTTP/1.1" && !p.Old || verb == "" || verb == "CONNECT" || !all(verb, isToken) || target == "" || !all(target, isTarget) {
		return foreign
	}
	p.Verb, p.Target = verb, target
	if target[0] == '/' {
		return taken
	}
	authority, ok := authorityOf(target)
	if !ok {
		return foreign
	}
	p.Host = authority
	return taken
}

// authorityOf is the authority of a target in absolute form (RFC 9112 §3.2.2).
func authorityOf(target string) (string, bool) {
	_, rest, found := strings.Cut(target, "://")
	scheme := target[:len(target)-len(rest)]
	if !found || !strings.EqualFold(scheme, "http://") && !strings.EqualFold(scheme, "https://") {
		return "", false
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		if rest[i] == '#' {
			return "", false
		}
		rest = rest[:i]
	}
	return rest, rest != "" && all(rest, isHost)
}

// parseField reads one line of a head or of trailers. why is empty if it could.
func parseField(line string) (f invoke.Field, why string) {
	colon := strings.IndexByte(line, ':')
	switch {
	case line == "" || line[0] == ' ' || line[0] == '\t':
		return f, "a folded line"
	case colon < 1 || !all(line[:colon], isToken):
		return f, "a line without a proper name"
	}
	value := trim(line[colon+1:])
	if !all(value, isValue) {
		return f, "control characters in the field " + line[:colon]
	}
	return invoke.Field{Name: line[:colon], Value: value}, ""
}

// trim is s without blanks around it.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// known are the fields that the engine itself reads, by the length of their
// names.
var known = [...]string{
	len("host"): "host", len("expect"): "expect", len("upgrade"): "upgrade", len("connection"): "connection",
	len("content-length"): "content-length", len("transfer-encoding"): "transfer-encoding",
}

// field takes one line, and reports whether the head may go on.
func (p *parser) field(f invoke.Field) bool {
	size := len(f.Name)
	if size < len(known) && known[size] != "" && strings.EqualFold(f.Name, known[size]) {
		switch size {
		case len("host"):
			return p.host(f.Value)
		case len("expect"):
			p.foreign = p.foreign || p.Expect || !strings.EqualFold(f.Value, "100-continue")
			p.Expect = true
			return true
		case len("content-length"):
			return p.contentLength(f.Value)
		case len("transfer-encoding"):
			return p.transferEncoding(f.Value)
		case len("upgrade"):
			p.upgrade(f.Value)
		case len("connection"):
			p.Close = p.Close || listed(f.Value, "close")
			p.upgrades = p.upgrades || listed(f.Value, "upgrade")
			p.keepAlive = p.keepAlive || listed(f.Value, "keep-alive")
		}
	}
	p.Fields = append(p.Fields, f)
	return true
}

func (p *parser) upgrade(value string) {
	if p.Upgrade != "" {
		p.Upgrade += ", "
	}
	p.Upgrade += value
}

func (p *parser) host(value string) bool {
	if p.hosts++; p.hosts > 1 {
		p.why = "more than one Host"
		return false
	}
	if value == "" || !all(value, isHost) {
		p.foreign = true
	}
	if p.Host == "" {
		p.Host = value
	}
	return true
}

func (p *parser) contentLength(value string) bool {
	const digits = 18 // fit an int64
	p.why = "a Content-Length that is no number"
	if value == "" || len(value) > digits {
		return false
	}
	var length int64
	for i := range len(value) {
		c := value[i]
		if c < '0' || c > '9' {
			return false
		}
		length = 10*length + int64(c-'0')
	}
	if p.hasLength && length != p.length {
		p.why = "two Content-Lengths"
		return false
	}
	p.foreign = p.foreign || p.hasLength
	p.hasLength, p.length = true, length
	return true
}

func (p *parser) transferEncoding(value string) bool {
	if p.chunked {
		p.why = "Transfer-Encoding twice"
		return false
	}
	p.chunked = true
	p.foreign = p.foreign || !strings.EqualFold(value, "chunked")
	return true
}

// complete looks at what only the whole head can tell.
func (p *parser) complete() verdict {
	if p.chunked && p.hasLength {
		return p.refuse("both Content-Length and Transfer-Encoding")
	}
	if p.Old && p.chunked {
		return p.refuse("Transfer-Encoding in HTTP/1.0")
	}
	if p.foreign || p.hosts == 0 && !p.Old || p.upgrades && p.Old {
		return foreign
	}
	if !p.upgrades {
		p.Upgrade = ""
	}
	if p.Old {
		p.Close = p.Close || !p.keepAlive
		p.Expect = false
	}
	p.Length = p.length
	if p.chunked {
		p.Length = -1
	}
	if p.Length == 0 {
		p.Expect = false // there is nothing to wait for
	}
	return taken
}

// listed reports whether a comma-separated list holds name.
func listed(list, name string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(trim(item), name) {
			return true
		}
	}
	return false
}

// broken says why data, the beginning of a head, cannot become one; "" if it
// can. Waiting for its end would be in vain.
func broken(data []byte) string {
	for rest := data; ; {
		i := bytes.IndexAny(rest, "\r\n\x00")
		switch {
		case i < 0 || i == len(rest)-1 && rest[i] == '\r':
			return ""
		case rest[i] == '\n':
			return "a line that ends without CR"
		case rest[i] == 0:
			return "a null byte"
		case rest[i+1] != '\n':
			return "a bare CR"
		}
		rest = rest[i+2:]
	}
}
