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
	n, err := b.conn.br.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	switch {
	case b.left == 0:
		b.err = io.EOF
		b.finish(true)
	case err == io.EOF && b.left < 0: //nolint:errorlint // bufio gives it bare
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
	var size int64
	digits := 0
	for _, c := range line {
		var digit byte
		switch {
		case c >= '0' && c <= '9':
			digit = c - '0'
		case c >= 'a' && c <= 'f':
			digit = c - 'a' + 10
		case c >= 'A' && c <= 'F':
			digit = c - 'A' + 10
		case digits > 0 && (c == ';' || c == ' ' || c == '\t' || c == '\r' || c == '\n'):
			return size, nil
		default:
			return 0, malformed("a chunk's size")
		}
		if digits++; digits > 15 {
			return 0, malformed("a chunk's size")
		}
		size = size<<4 | int64(digit)
	}
	return 0, malformed("a chunk's size")
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
