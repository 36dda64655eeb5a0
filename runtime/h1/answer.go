package h1

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A Reply is an answer that is there in one piece.
type Reply struct {
	Status int
	Fields invoke.Fields
	Body   []byte
}

// A Refusal is what was no request: the status it is answered with and why.
type Refusal struct {
	Status int
	Why    string
}

func badRequest(why string) Refusal { return Refusal{Status: http.StatusBadRequest, Why: why} }

func tooLarge() Refusal {
	return Refusal{Status: http.StatusRequestHeaderFieldsTooLarge, Why: "the head is too long"}
}

// Room before and behind a piece of an answer for what frames it.
const (
	chunkBefore = len("7fff\r\n")
	chunkBehind = len("\r\n0\r\n\r\n")
)

var errShort = errors.New("the answer's body is not as long as was said")

// Answer writes a and closes its body: the head with all of the body that is
// there in one write, then each piece as it comes, then the trailers. If the
// body ends before its time, so does the connection: the client must not take
// it for complete. A status below 200 or above 999 cannot be answered.
func (x *Exchange) Answer(a *invoke.Answer) error {
	defer func() { _ = a.Body.Close() }()
	empty := x.Call.Verb == http.MethodHead || a.Status == http.StatusNoContent || a.Status == http.StatusNotModified
	unknown := a.Length < 0 && !empty
	rest, trailers, there := invoke.Complete(a.Body)
	if there || empty {
		x.enough()
	}
	x.end(a.Status, unknown)
	out := getBuffer()
	defer buffers.Put(out)
	b := appendStatus(out[:0], a.Status, a.Phrase)
	b = appendFields(b, a.Fields)
	b = x.appendFraming(b, a)
	if empty {
		return x.write(b)
	}
	switch {
	case !there:
		if err := x.write(b); err != nil {
			return err
		}
		return x.stream(a.Body, a.Length, out)
	case unknown && !x.Head.Old:
		return x.writeChunk(b, rest, trailers)
	case unknown:
		return x.writeWhole(b, rest, int64(len(rest)))
	default:
		return x.writeWhole(b, rest, a.Length)
	}
}

// appendFraming ends a head with what belongs to this hop.
func (x *Exchange) appendFraming(b []byte, a *invoke.Answer) []byte {
	switch {
	case a.Status == http.StatusNoContent:
	case a.Length >= 0:
		b = appendLength(b, a.Length)
	case x.Call.Verb != http.MethodHead && a.Status != http.StatusNotModified && !x.Head.Old:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	switch {
	case !x.keep:
		b = append(b, "Connection: close\r\n"...)
	case x.Head.Old:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}

// Reply writes r.
func (x *Exchange) Reply(r Reply) error {
	a := invoke.Answer{Status: r.Status, Fields: r.Fields, Length: int64(len(r.Body)), Body: invoke.BytesBody(r.Body)}
	return x.Answer(&a)
}

// Switch answers 101, with fields besides Connection, and makes the connection
// a tunnel: it is the caller's until Serve returns. early is what the client
// has sent already behind its request.
func (x *Exchange) Switch(fields invoke.Fields) (early []byte, err error) {
	x.end(http.StatusSwitchingProtocols, false)
	x.keep = false
	b := appendStatus(nil, x.status, "")
	b = append(b, "Connection: Upgrade\r\n"...)
	b = appendFields(b, fields)
	if err := x.write(append(b, "\r\n"...)); err != nil {
		return nil, err
	}
	c := x.c
	early = append(early, c.unread()...)
	c.r = c.w
	c.release()
	c.call.Store(nil) // from here on the client may end its direction
	c.s.tunnelled(x)
	return early, nil
}

// end ends the time of 1xx answers, and decides whether the connection may go
// on behind an answer whose length is unknown or not.
func (x *Exchange) end(status int, unknown bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answered, x.status = true, status
	if x.c.s.draining.Load() || unknown && x.Head.Old || x.Head.Expect && !x.continued && !x.body.over() {
		x.keep = false
	}
}

// write writes b. A connection that does not take it is over.
func (x *Exchange) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	_, err := x.c.nc.Write(b)
	if err != nil {
		x.keep = false
	}
	return err
}

// broken ends the connection behind an answer that is not complete.
func (x *Exchange) broken(err error) error {
	x.keep = false
	_ = x.c.nc.Close() // the client must see it
	return err
}

// writeWhole writes a head and a body of a length that was said.
func (x *Exchange) writeWhole(head, rest []byte, length int64) error {
	if int64(len(rest)) > length {
		rest = rest[:length]
	}
	x.size = int64(len(rest))
	n := min(len(rest), cap(head)-len(head))
	if err := x.write(append(head, rest[:n]...)); err != nil {
		return err
	}
	if n < len(rest) {
		if err := x.write(rest[n:]); err != nil {
			return err
		}
	}
	return x.short(length)
}

// writeChunk writes a head and a body of unknown length as one chunk.
func (x *Exchange) writeChunk(b, rest []byte, trailers invoke.Fields) error {
	x.size = int64(len(rest))
	if len(rest) > 0 {
		b = strconv.AppendInt(b, x.size, 16)
		b = append(b, "\r\n"...)
		b = append(b, rest...)
		b = append(b, "\r\n"...)
	}
	return x.write(appendLast(b, trailers))
}

// stream writes a body piece by piece; length is -1 if it is not known.
func (x *Exchange) stream(body invoke.Body, length int64, out *[bufferSize]byte) error {
	room := out[chunkBefore : len(out)-chunkBehind]
	chunked := length < 0 && !x.Head.Old // in HTTP/1.0 the connection's end is the body's
	for {
		n, err := body.Read(room)
		ended := err == io.EOF //nolint:errorlint // an error that wraps EOF is no end
		if more := x.size + int64(n); length >= 0 && more > length {
			n, ended = int(length-x.size), true
		}
		x.size += int64(n)
		piece := room[:n]
		if chunked {
			piece = frame(out, n)
			if ended {
				piece = appendLast(piece, body.Trailers())
			}
		}
		if failed := x.write(piece); failed != nil {
			return failed
		}
		switch {
		case ended:
			return x.short(length)
		case err != nil:
			return x.broken(err)
		}
	}
}

// short ends the connection if less was written than was said.
func (x *Exchange) short(length int64) error {
	if x.size < length {
		return x.broken(errShort)
	}
	return nil
}

// frame makes the n bytes behind chunkBefore a chunk.
func frame(out *[bufferSize]byte, n int) []byte {
	if n == 0 {
		return out[:0]
	}
	const hex = "0123456789abcdef"
	at := chunkBefore - len("\r\n")
	copy(out[at:], "\r\n")
	for size := n; size > 0; size >>= 4 {
		at--
		out[at] = hex[size&15]
	}
	return append(out[at:chunkBefore+n], "\r\n"...)
}

// appendLast appends the last chunk and the trailers.
func appendLast(b []byte, trailers invoke.Fields) []byte {
	b = append(b, "0\r\n"...)
	b = appendFields(b, trailers)
	return append(b, "\r\n"...)
}

// appendStatus appends a status line. phrase is as invoke.Answer has it.
func appendStatus(b []byte, status int, phrase string) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	switch {
	case phrase == "":
		b = append(b, http.StatusText(status)...)
	case phrase != invoke.EmptyPhrase && all(phrase, isValue):
		b = append(b, phrase...)
	}
	return append(b, "\r\n"...)
}

// appendFields appends the lines that may stand there: what would be more than
// one line is left out, and so is framing, which is this hop's.
func appendFields(b []byte, fields invoke.Fields) []byte {
	for i := range fields {
		f := &fields[i]
		if f.Name == "" || isFraming(f.Name) || !all(f.Name, isToken) || !all(f.Value, isValue) {
			continue
		}
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	return b
}

func isFraming(name string) bool {
	switch len(name) {
	case len("Connection"):
		return strings.EqualFold(name, "connection")
	case len("Content-Length"):
		return strings.EqualFold(name, "content-length")
	case len("Transfer-Encoding"):
		return strings.EqualFold(name, "transfer-encoding")
	}
	return false
}

func appendLength(b []byte, length int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, length, 10)
	return append(b, "\r\n"...)
}
