package h1

import (
	"bytes"
	"errors"
	"io"
	"strings"
)

// A chunkState is what comes next in a chunked body (RFC 9112 §7.1).
type chunkState uint8

const (
	atSize chunkState = iota
	atData
	atEnd // the CRLF behind a chunk's data
	atTrailers
)

// maxChunkLine bounds a chunk's size with its extensions, which say nothing to
// anybody.
const maxChunkLine = 4 << 10

// A malformedError says what about a body is not HTTP.
type malformedError string

func (e malformedError) Error() string { return string(e) }

// errPartial: the line has not come yet.
var errPartial = errors.New("more has to come")

// nextChunked reads what there is next of a chunked body.
func (b *body) nextChunked(p []byte) (n int, err error) {
	for {
		if b.state == atData {
			var some int
			some, err = b.some(p[n:])
			n += some
			if b.left == 0 && err == nil {
				b.state = atEnd
			}
		} else {
			err = b.frame(n == 0)
		}
		switch {
		case err == errPartial: //nolint:errorlint // frame gives it bare
			return n, nil
		case err != nil:
			return n, err
		case n == len(p) && b.state == atData, n > 0 && len(b.x.c.unread()) == 0:
			return n, nil
		}
	}
}

// frame reads one line between chunks. Without wait it is errPartial if the
// line has not come.
func (b *body) frame(wait bool) error {
	limit := maxChunkLine
	if b.state == atTrailers {
		limit = b.x.c.s.cfg.MaxHead - b.lines
	}
	line, err := b.x.c.line(limit, wait)
	if err != nil {
		return err
	}
	switch b.state {
	case atSize:
		if b.left, err = chunkSize(line); err != nil {
			return err
		}
		b.state = atData
		if b.left == 0 {
			b.state = atTrailers
		}
	case atEnd:
		if len(line) > 0 {
			return malformedError("a chunk that is longer than it says")
		}
		b.state = atSize
	case atTrailers:
		return b.trailer(line)
	case atData:
	}
	return nil
}

// trailer takes one line behind the last chunk; the empty one is the end.
func (b *body) trailer(line []byte) error {
	if len(line) == 0 {
		b.ended = true
		return io.EOF
	}
	field, why := parseField(string(line))
	if why != "" {
		return malformedError(why + " in the trailers")
	}
	b.lines += len(line) + len("\r\n")
	b.trailers = append(b.trailers, field)
	return nil
}

// chunkSize reads a chunk's size. An extension is not looked at but for bytes
// that may stand nowhere.
func chunkSize(line []byte) (int64, error) {
	const digits = 15
	size, extension, _ := strings.Cut(string(line), ";")
	size = strings.TrimRight(size, " \t")
	if size == "" || len(size) > digits || !all(extension, isValue) {
		return 0, malformedError("a chunk without a proper size")
	}
	var n int64
	for i := range len(size) {
		c := size[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, malformedError("a chunk without a proper size")
		}
		n = n<<4 | int64(c)
	}
	return n, nil
}

// line takes one line, without its CRLF, which is good until the next read.
// Unless it may wait, it is errPartial if the line has not come.
func (c *conn) line(limit int, wait bool) ([]byte, error) {
	for {
		data := c.unread()
		end := bytes.IndexByte(data, '\n')
		switch {
		case end > limit || end < 0 && len(data) > limit:
			return nil, malformedError("a line that is too long in the body")
		case end > 0 && data[end-1] == '\r' && bytes.IndexByte(data[:end-1], '\r') < 0:
			c.r += end + 1
			return data[:end-1], nil
		case end >= 0:
			return nil, malformedError("a line that ends without CRLF in the body")
		case !wait:
			return nil, errPartial
		}
		if err := c.fill(); err != nil {
			return nil, unexpected(err)
		}
	}
}

// chunks looks whether a whole chunked body without trailers is there. If so
// it joins its data at its beginning; n is how many bytes the body was, data
// how many it is now. Otherwise n is 0 and nothing has changed.
func (c *conn) chunks() (n, data int) {
	body := c.unread()
	n, ok := eachChunk(body, func([]byte) {})
	if !ok {
		return 0, 0
	}
	_, _ = eachChunk(body, func(chunk []byte) { data += copy(body[data:], chunk) })
	return n, data
}

// eachChunk calls f with each chunk of the body that body begins with, which
// is n bytes long. ok is false if not all of it is there, or not plain enough.
// f may write before its chunk.
func eachChunk(body []byte, f func(chunk []byte)) (n int, ok bool) {
	for {
		end := bytes.IndexByte(body[n:], '\n')
		if end < 1 || end > maxChunkLine || body[n+end-1] != '\r' {
			return 0, false
		}
		size, err := chunkSize(body[n : n+end-1])
		n += end + 1
		if err != nil || size > int64(len(body)-n-len("\r\n")) {
			return 0, false
		}
		chunk := body[n : n+int(size)]
		n += int(size) + len("\r\n")
		if string(body[n-2:n]) != "\r\n" {
			return 0, false
		}
		if size == 0 {
			return n, true
		}
		f(chunk)
	}
}
