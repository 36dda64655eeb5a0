package app

import (
	"io"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// plainBody is an answer's body of a known length, or up to the connection's
// end. As a tunnel it stays open at its end, for the other direction.
type plainBody struct {
	*exchange
	left   int64 // -1: until the end
	tunnel bool
	err    error // what Read gives from now on
}

func (b *plainBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.conn.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case b.left == 0:
		b.err = io.EOF
		b.finish(true)
	case err == io.EOF && b.left < 0: //nolint:errorlint // our own connection gives it bare
		b.err = io.EOF
		if !b.tunnel {
			b.finish(true)
		}
	case err != nil:
		b.err = b.cut(err)
		b.finish(false)
	}
	return n, b.err
}

func (b *plainBody) Close() error {
	b.finish(false)
	return nil
}

func (b *plainBody) Trailers() invoke.Fields { return nil }

// chunkedBody is an answer's body in the chunked coding (RFC 9112 §7.1).
type chunkedBody struct {
	*exchange
	left     int64 // of the present chunk
	within   bool  // a chunk's data has been read, its end has not
	last     bool  // the last chunk's line has been read
	trailers invoke.Fields
	err      error
}

// Read returns what is there, of as many chunks as there are. The end of the
// body is reported with its last bytes if it has arrived with them.
func (b *chunkedBody) Read(p []byte) (int, error) {
	n := 0
	for b.err == nil && n < len(p) {
		if b.left == 0 {
			if !b.next(n == 0) {
				break
			}
			continue
		}
		if n > 0 && len(b.conn.buffered()) == 0 {
			break // more would have to be waited for
		}
		got, err := b.conn.Read(p[n:min(int64(len(p)), int64(n)+b.left)])
		n += got
		b.left -= int64(got)
		if err != nil {
			b.fail(b.cut(err))
		}
	}
	if n > 0 && b.err == nil && b.left == 0 {
		b.peek()
	}
	return n, b.err
}

// peek reads the framing behind a chunk that ends where the reader's room does,
// as far as it is there.
func (b *chunkedBody) peek() {
	for b.err == nil && b.left == 0 && b.next(false) {
	}
}

// next takes one line of the framing, up to the next chunk's data or the end of
// the body. It reports false if there is nothing to take and it may not wait.
func (b *chunkedBody) next(wait bool) bool {
	if b.last {
		return b.end(wait)
	}
	line, ok := b.conn.line()
	for !ok {
		switch {
		case len(b.conn.buffered()) > maxChunkLine:
			b.fail(protocolError(malformed("a chunk's line that is too long")))
			return true
		case !wait:
			return false
		}
		if err := b.conn.fill(); err != nil {
			b.fail(b.cut(err))
			return true
		}
		line, ok = b.conn.line()
	}
	if b.within {
		b.within = false
		if !isEmptyLine(line) {
			b.fail(protocolError(malformed("no end of a chunk")))
		}
		return true
	}
	size, err := chunkSize(line)
	if err != nil {
		b.fail(protocolError(err))
		return true
	}
	b.left, b.within, b.last = size, size > 0, size == 0
	return true
}

// end reads the trailers.
func (b *chunkedBody) end(wait bool) bool {
	if !wait && !hasBlock(b.conn.buffered()) {
		return false
	}
	block, lines, err := b.conn.block(0)
	if err == nil {
		if b.trailers, err = parseTrailers(string(block), lines); err == nil {
			b.err = io.EOF
			b.finish(true)
			return true
		}
	}
	if _, wrong := err.(*malformedError); wrong { //nolint:errorlint // our own, bare
		err = protocolError(err)
	} else {
		err = b.cut(err)
	}
	b.fail(err)
	return true
}

func (b *chunkedBody) fail(err error) {
	b.err = err
	b.finish(false)
}

func (b *chunkedBody) Close() error {
	b.finish(false)
	return nil
}

// Trailers are complete once Read has returned io.EOF.
func (b *chunkedBody) Trailers() invoke.Fields {
	if b.err != io.EOF { //nolint:errorlint // our own, bare
		return nil
	}
	return b.trailers
}
