package app

import (
	"bytes"
	"io"
	"strconv"

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
	n, err := b.conn.br.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case b.left == 0:
		b.err = io.EOF
		b.finish(true)
	case err == io.EOF && b.left < 0:
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
	within   bool  // the present chunk's line has been read
	trailers invoke.Fields
	err      error
}

func (b *chunkedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.read(p)
	switch {
	case err == io.EOF: //nolint:errorlint // our own, bare
		b.err = io.EOF
		b.finish(true)
	case err != nil:
		b.err = err
		b.finish(false)
	}
	return n, b.err
}

// read returns what is there of the present chunk. The end of the body is
// reported with its last bytes if it has arrived with them.
func (b *chunkedBody) read(p []byte) (int, error) {
	if b.left == 0 {
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	n, err := b.conn.br.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil {
		return n, b.cut(err)
	}
	if b.left == 0 && b.conn.br.Buffered() >= len("\r\n0\r\n\r\n") {
		if coming, _ := b.conn.br.Peek(7); string(coming) == "\r\n0\r\n\r\n" {
			return n, b.next()
		}
	}
	return n, nil
}

// next reads the line of the next chunk; io.EOF after the last one.
func (b *chunkedBody) next() error {
	if b.within {
		line, err := b.conn.br.ReadSlice('\n')
		if err != nil {
			return b.cut(err)
		}
		if !isEmptyLine(line) {
			return protocolError(malformed("no end of a chunk"))
		}
	}
	line, err := b.conn.br.ReadSlice('\n')
	if err != nil {
		return b.cut(err)
	}
	if b.left, err = chunkSize(line); err != nil {
		return protocolError(err)
	}
	b.within = true
	if b.left > 0 {
		return nil
	}
	block, err := readBlock(b.conn.br, 0)
	if err != nil {
		return b.cut(err)
	}
	if b.trailers, err = parseFields(string(block)); err != nil {
		return protocolError(err)
	}
	invoke.StripHopByHop(&b.trailers)
	return io.EOF
}

// chunkSize reads a chunk's line. Extensions are for the next hop only: they
// are ignored (RFC 9112 §7.1.1).
func chunkSize(line []byte) (int64, error) {
	digits := 0
	for digits < len(line) && isHex(line[digits]) {
		digits++
	}
	rest := bytes.TrimLeft(line[digits:], " \t")
	extended := len(rest) > 0 && rest[0] == ';'
	if digits == 0 || digits > 15 || (!extended && !isEmptyLine(rest)) {
		return 0, malformed("a chunk's size")
	}
	return strconv.ParseInt(string(line[:digits]), 16, 64)
}

func isHex(c byte) bool {
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')
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
