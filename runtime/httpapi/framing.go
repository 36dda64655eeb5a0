package httpapi

import (
	"bytes"
	"strings"
)

// framing follows the bytes of an HTTP/1.1 connection and refuses what two
// parsers could read in two ways (RFC 9112 §11.2). net/http is lenient there:
// it joins folded lines, takes a bare LF for the end of a line, and lets
// Transfer-Encoding win over Content-Length. It only refuses; what net/http
// refuses besides is left to net/http.
type framing struct {
	state framingState
	line  []byte // of the present line, as far as it is kept
	size  int    // of the present line
	cr    bool   // the last byte was CR

	requestLine bool // has been seen in this head
	old         bool // not HTTP/1.1
	chunked     bool
	hasLength   bool
	length      int64
	upgrade     bool

	left int64 // of a body or chunk
}

type framingState uint8

const (
	inHead framingState = iota
	inBody
	inChunkSize
	inChunk
	inChunkEnd // the CRLF behind a chunk
	inTrailers
	transparent // HTTP/2, or a tunnel: no longer ours
)

// maxLine bounds what is kept of a line; a longer head is refused by net/http.
const maxLine = headLimit + headSlop

// A verdict is what feed says of the bytes it has looked at.
type verdict uint8

const (
	passed  verdict = iota
	refused         // the byte behind those passed breaks a rule
	paused          // a head that asks for an upgrade has ended: what follows may be no HTTP
)

// feed looks at p and returns how many bytes may be passed on now.
func (f *framing) feed(p []byte) (n int, v verdict) {
	for n < len(p) {
		switch f.state {
		case transparent:
			return len(p), passed
		case inBody, inChunk:
			n += f.skip(len(p) - n)
			continue
		case inHead, inChunkSize, inChunkEnd, inTrailers:
		}
		ended, ok := f.char(p[n])
		if !ok {
			return n, refused
		}
		n++
		if ended {
			return n, paused
		}
	}
	return n, passed
}

// skip passes up to n bytes of a body.
func (f *framing) skip(n int) int {
	if int64(n) > f.left {
		n = int(f.left)
	}
	f.left -= int64(n)
	if f.left == 0 {
		if f.state == inChunk {
			f.state = inChunkEnd
		} else {
			f.next()
		}
	}
	return n
}

// char looks at one byte of a line.
func (f *framing) char(c byte) (upgradeEnded, ok bool) {
	switch {
	case f.cr:
		f.cr = false
		if c != '\n' {
			return false, false // a bare CR
		}
		return f.lineEnd()
	case c == '\r':
		f.cr = true
		return false, true
	case c == '\n':
		// A bare LF. As the first byte of all it may belong to a tunnel, and
		// net/http refuses an empty request line.
		return false, f.size == 0 && f.state == inHead && !f.requestLine
	case f.size == 0 && (c == ' ' || c == '\t') && (f.requestLine || f.state == inTrailers):
		return false, false // a folded line
	}
	f.size++
	if len(f.line) < maxLine {
		f.line = append(f.line, c)
	}
	return false, true
}

func (f *framing) lineEnd() (upgradeEnded, ok bool) {
	line := f.line
	f.line, f.size = f.line[:0], 0
	switch f.state {
	case inHead:
		if !f.requestLine {
			f.firstLine(line)
			return false, true
		}
		if len(line) > 0 {
			return false, f.field(line)
		}
		return f.headEnd(), true
	case inChunkSize:
		return false, f.chunkSize(line)
	case inChunkEnd:
		f.state = inChunkSize
		return false, len(line) == 0
	case inTrailers:
		if len(line) == 0 {
			f.next()
		}
	case inBody, inChunk, transparent:
	}
	return false, true
}

func (f *framing) firstLine(line []byte) {
	if bytes.Equal(line, []byte("PRI * HTTP/2.0")) {
		f.state = transparent
		return
	}
	if len(line) == 0 {
		return // net/http refuses it
	}
	f.requestLine = true
	f.old = !bytes.HasSuffix(line, []byte("HTTP/1.1"))
}

// field notes what a header line says about the length of the message. Two
// lines that both speak of it must agree.
func (f *framing) field(line []byte) bool {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch len(name) {
	case len("content-length"):
		if bytes.EqualFold(name, []byte("content-length")) {
			return f.contentLength(bytes.Trim(value, " \t"))
		}
	case len("transfer-encoding"):
		if bytes.EqualFold(name, []byte("transfer-encoding")) {
			again := f.chunked
			f.chunked = true // any other coding is refused by net/http
			return !again && !f.hasLength && !f.old
		}
	case len("upgrade"):
		if bytes.EqualFold(name, []byte("upgrade")) {
			f.upgrade = f.upgrade || upgradeOf(string(value)) != ""
		}
	}
	return true
}

func (f *framing) contentLength(value []byte) bool {
	const digits = 18 // fit an int64
	if len(value) == 0 || len(value) > digits || f.chunked {
		return false
	}
	var length int64
	for _, c := range value {
		if c < '0' || c > '9' {
			return false
		}
		length = 10*length + int64(c-'0')
	}
	if f.hasLength && length != f.length {
		return false
	}
	f.hasLength, f.length = true, length
	return true
}

func (f *framing) headEnd() (upgrade bool) {
	upgrade = f.upgrade
	switch {
	case f.chunked:
		f.state = inChunkSize
	case f.length > 0:
		f.state, f.left = inBody, f.length
	default:
		f.next()
	}
	f.upgrade = false
	return upgrade
}

// chunkSize reads a chunk's size; extensions do not count (RFC 9112 §7.1.1).
func (f *framing) chunkSize(line []byte) bool {
	const digits = 15
	size, _, _ := bytes.Cut(line, []byte(";"))
	size = bytes.TrimRight(size, " \t")
	if len(size) == 0 || len(size) > digits {
		return false
	}
	var n int64
	for _, c := range size {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return false
		}
		n = n<<4 | int64(c)
	}
	if n == 0 {
		f.state = inTrailers
	} else {
		f.state, f.left = inChunk, n
	}
	return true
}

// next is ready for the next message.
func (f *framing) next() {
	line := f.line[:0]
	if cap(line) > 4<<10 {
		line = nil
	}
	*f = framing{line: line}
}

// upgradeOf is the protocol an Upgrade line asks for. h2c, which Java's client
// sends with every first request, is ignored (RFC 9110 §7.8 allows it).
func upgradeOf(value string) string {
	var kept []string
	for name := range strings.SplitSeq(value, ",") {
		if name = strings.Trim(name, " \t"); name != "" && !strings.EqualFold(name, "h2c") {
			kept = append(kept, name)
		}
	}
	return strings.Join(kept, ", ")
}
