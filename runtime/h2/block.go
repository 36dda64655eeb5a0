package h2

import (
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A head is what stands before a body: of a request or of an answer.
type head struct {
	method, scheme, authority, path string
	status                          int
	fields                          invoke.Fields
	length                          int64 // as Content-Length says; -1: it does not
	expect                          bool  // 100-continue
}

// A block is the header block that is being read. There is one for each
// connection, used again and again: what is taken from it is copied.
type block struct {
	dec *hpack.Decoder

	id     uint32 // the stream; 0 while no block is being read
	stream uint32 // the stream of a block that is complete
	end    bool   // END_STREAM
	raw    int    // bytes that came
	frames int
	size   int // as HTTP/2 counts

	head    head
	pseudo  pseudos
	regular bool   // a line that is no pseudo field has come
	bad     string // what is malformed
	// over is true if the block is longer than headLimit; its lines are lost.
	over bool
}

// pseudos are the pseudo fields that have come.
type pseudos uint8

const (
	hasMethod pseudos = 1 << iota
	hasScheme
	hasAuthority
	hasPath
	hasStatus
)

func newBlock() *block {
	b := new(block)
	b.dec = hpack.NewDecoder(tableSize, b.field)
	b.dec.SetMaxStringLength(blockLimit)
	return b
}

// begin is ready for the block of a stream.
func (b *block) begin(id uint32, end bool) {
	fields := b.head.fields[:0]
	if cap(fields) > 64 {
		fields = nil
	}
	*b = block{dec: b.dec, id: id, end: end, head: head{fields: fields, length: -1}}
}

// add decodes a fragment.
func (b *block) add(fragment []byte) error {
	b.raw += len(fragment)
	b.frames++
	if b.raw > blockLimit || b.frames > blockFrames {
		return violated(http2.ErrCodeEnhanceYourCalm, "a header block without an end")
	}
	if _, err := b.dec.Write(fragment); err != nil {
		return violated(http2.ErrCodeCompression, "%v", err)
	}
	return nil
}

// finish ends the block.
func (b *block) finish() error {
	b.id = 0
	if err := b.dec.Close(); err != nil {
		return violated(http2.ErrCodeCompression, "%v", err)
	}
	return nil
}

// field takes a decoded line.
func (b *block) field(f hpack.HeaderField) {
	b.size += int(f.Size())
	if b.size > headLimit {
		b.over = true
		b.head.fields = b.head.fields[:0]
		return
	}
	if b.over || b.bad != "" {
		return
	}
	if f.IsPseudo() {
		b.pseudoField(f)
		return
	}
	b.regular = true
	if !isName(f.Name) || !httpguts.ValidHeaderFieldValue(f.Value) {
		b.bad = "the field " + strconv.Quote(clip(f.Name))
		return
	}
	b.head.fields = append(b.head.fields, invoke.Field{Name: f.Name, Value: f.Value})
	switch f.Name {
	case "content-length":
		b.contentLength(f.Value)
	case "expect":
		b.head.expect = b.head.expect || strings.EqualFold(f.Value, "100-continue")
	}
}

func (b *block) pseudoField(f hpack.HeaderField) {
	var which pseudos
	switch f.Name {
	case ":method":
		which, b.head.method = hasMethod, f.Value
	case ":scheme":
		which, b.head.scheme = hasScheme, f.Value
	case ":authority":
		which, b.head.authority = hasAuthority, f.Value
	case ":path":
		which, b.head.path = hasPath, f.Value
	case ":status":
		which, b.head.status = hasStatus, statusOf(f.Value)
	}
	if which == 0 || b.regular || b.pseudo&which != 0 {
		b.bad = "the pseudo field " + strconv.Quote(clip(f.Name))
	}
	b.pseudo |= which
}

func (b *block) contentLength(value string) {
	const digits = 18 // fit an int64
	var n int64
	for i := range len(value) {
		c := value[i]
		if c < '0' || c > '9' || i >= digits {
			b.bad = "Content-Length"
			return
		}
		n = 10*n + int64(c-'0')
	}
	if value == "" || b.head.length >= 0 && b.head.length != n {
		b.bad = "Content-Length"
		return
	}
	b.head.length = n
}

// request is the head of a request, or what is wrong with it.
func (b *block) request() (h head, wrong string) {
	h = b.head
	switch {
	case b.bad != "":
		return h, b.bad
	case b.pseudo&hasStatus != 0 || b.pseudo&hasMethod == 0 || !httpguts.ValidHeaderFieldName(h.method):
		return h, ":method"
	case h.method == "CONNECT" && b.pseudo&(hasScheme|hasPath) != 0:
		return h, "a CONNECT with more than an authority"
	case h.method != "CONNECT" && (b.pseudo&(hasScheme|hasPath) != hasScheme|hasPath || h.scheme == ""):
		return h, "a request without a target"
	case h.method != "CONNECT" && !isPath(h.method, h.path):
		return h, ":path"
	case !httpguts.ValidHostHeader(h.authority):
		return h, ":authority"
	case b.end && h.length > 0:
		return h, "a body that does not come"
	}
	if wrong = oneHop(h.fields); wrong != "" {
		return h, wrong
	}
	h.fields = copied(h.fields)
	return h, ""
}

// answer is the head of an answer, or what is wrong with it.
func (b *block) answer() (h head, wrong string) {
	h = b.head
	switch {
	case b.bad != "":
		return h, b.bad
	case b.pseudo != hasStatus || h.status < 100 || h.status == 101:
		return h, ":status"
	case h.status < 200 && b.end:
		return h, "an answer that ends before it begins"
	}
	h.fields = copied(h.fields)
	return h, ""
}

// trailers are the lines behind a body, or what is wrong with them.
func (b *block) trailers() (fields invoke.Fields, wrong string) {
	switch {
	case b.bad != "":
		return nil, b.bad
	case b.over:
		return nil, "trailers that are too long"
	case b.pseudo != 0:
		return nil, "pseudo fields in trailers"
	case !b.end:
		return nil, "trailers that are not the end"
	case len(b.head.fields) == 0:
		return nil, ""
	}
	return copied(b.head.fields), ""
}

// copied leaves room for the lines that stages add.
func copied(fields invoke.Fields) invoke.Fields {
	const room = 6
	return append(make(invoke.Fields, 0, len(fields)+room), fields...)
}

// oneHop says which line has no place in HTTP/2 (RFC 9113 §8.2.2).
func oneHop(fields invoke.Fields) string {
	for i := range fields {
		switch fields[i].Name {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
			return "the field " + fields[i].Name
		case "te":
			if fields[i].Value != "trailers" {
				return "the field te"
			}
		}
	}
	return ""
}

// isName reports whether name is a field's, in lower case.
func isName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c >= 'A' && c <= 'Z' || !httpguts.IsTokenRune(rune(c)) {
			return false
		}
	}
	return name != ""
}

// isPath reports whether path can be a request's: any bytes but blanks and
// control characters.
func isPath(method, path string) bool {
	if path == "*" {
		return method == "OPTIONS"
	}
	for i := range len(path) {
		if path[i] <= ' ' || path[i] == 0x7f {
			return false
		}
	}
	return path != "" && path[0] == '/'
}

func statusOf(value string) int {
	if len(value) != 3 {
		return 0
	}
	n := 0
	for i := range 3 {
		if value[i] < '0' || value[i] > '9' {
			return 0
		}
		n = 10*n + int(value[i]-'0')
	}
	return n
}

func clip(s string) string {
	const shown = 64
	if len(s) > shown {
		return s[:shown]
	}
	return s
}
