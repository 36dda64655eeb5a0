package difftest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// errNoHead is a connection that ended before the first byte of a message.
var errNoHead = errors.New("no message")

// readHead reads a head as it stands: the first line, and the fields in order.
func readHead(br *bufio.Reader) (start string, fields []field, err error) {
	for first := true; ; first = false {
		line, err := br.ReadString('\n')
		if err != nil {
			if first && line == "" {
				return "", nil, errNoHead
			}
			return start, fields, fmt.Errorf("a head ends behind %q: %w", line, err)
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		switch {
		case first:
			start = line
		case line == "":
			return start, fields, nil
		default:
			name, value, _ := strings.Cut(line, ":")
			fields = append(fields, field{name, value})
		}
	}
}

// A bodyReader follows the body of an HTTP/1.1 message and tells its run.
type bodyReader struct {
	r  *run
	m  *message
	br *bufio.Reader
}

// read reads the body to its end. It returns false if the connection ended.
func (b bodyReader) read() bool {
	err := b.framed()
	b.r.update(func() {
		b.m.end = ended
		if err != nil {
			b.m.end, b.m.gone = cutOff, true
		}
	})
	return err == nil
}

func (b bodyReader) framed() error {
	switch b.m.framing {
	case "chunked":
		return b.chunks()
	case "until close":
		return b.rest()
	default:
		var n int64
		_, _ = fmt.Sscanf(b.m.framing, "length %d", &n) // without a length there is no body
		return b.bytes(n)
	}
}

// rest reads to the connection's end; a reset is not the end.
func (b bodyReader) rest() error {
	err := b.bytes(1 << 62)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func (b bodyReader) bytes(n int64) error {
	buf := make([]byte, 64<<10)
	for n > 0 {
		got, err := b.br.Read(buf[:min(int64(len(buf)), n)])
		n -= int64(got)
		b.r.update(func() { b.m.body = append(b.m.body, buf[:got]...) })
		if err == io.EOF && n > 0 {
			return io.ErrUnexpectedEOF
		}
		if err != nil && n > 0 {
			return err
		}
	}
	return nil
}

func (b bodyReader) chunks() error {
	for {
		line, err := b.br.ReadString('\n')
		if err != nil {
			return err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 64)
		if err != nil {
			return fmt.Errorf("chunk size %q: %w", line, err)
		}
		if n == 0 {
			return b.trailers()
		}
		if err := b.bytes(n); err != nil {
			return err
		}
		if line, err = b.br.ReadString('\n'); err != nil || strings.TrimSpace(line) != "" {
			return fmt.Errorf("chunk end %q: %w", line, err)
		}
	}
}

func (b bodyReader) trailers() error {
	for {
		line, err := b.br.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" {
			return nil
		}
		name, value, _ := strings.Cut(line, ":")
		b.r.update(func() { b.m.trailers = append(b.m.trailers, field{name, value}) })
	}
}

// tunnel reads what follows an upgrade.
func (b bodyReader) tunnel() {
	buf := make([]byte, 64<<10)
	for {
		n, err := b.br.Read(buf)
		b.r.update(func() {
			b.m.tunnel = append(b.m.tunnel, buf[:n]...)
			if err != nil {
				b.m.tunnelEnd, b.m.gone = true, true
			}
		})
		if err != nil {
			return
		}
	}
}

// frame says how a message's body stands on the wire, RFC 9112 §6.3.
func frame(m *message, request, bodiless bool) string {
	length, coding := m.get("content-length"), m.get("transfer-encoding")
	switch {
	case bodiless && length != "":
		return "no body, length " + strings.TrimSpace(length)
	case bodiless:
		return ""
	case strings.EqualFold(strings.TrimSpace(coding), "chunked"):
		return "chunked"
	case length != "":
		return "length " + strings.TrimSpace(length)
	case request:
		return ""
	default:
		return "until close"
	}
}

// A wire1 writes messages of HTTP/1.1. Its conn belongs to whoever embeds it.
type wire1 struct {
	buf     strings.Builder
	chunked bool
}

func (w *wire1) field(line string) error {
	w.buf.WriteString(line + "\r\n")
	return nil
}

// end completes the head that was kept back.
func (w *wire1) end(length int) string {
	w.chunked = false
	switch {
	case length == streamed:
		w.chunked = true
		w.buf.WriteString("Transfer-Encoding: chunked\r\n")
	case length >= 0:
		w.buf.WriteString("Content-Length: " + strconv.Itoa(length) + "\r\n")
	}
	text := w.buf.String() + "\r\n"
	w.buf.Reset()
	return text
}

// piece is data as it stands in the body.
func (w *wire1) piece(p []byte) string {
	if !w.chunked {
		return string(p)
	}
	return fmt.Sprintf("%x\r\n%s\r\n", len(p), p)
}

// last ends the body.
func (w *wire1) last(trailers []field) string {
	if !w.chunked {
		return ""
	}
	var b strings.Builder
	b.WriteString("0\r\n")
	for _, t := range trailers {
		b.WriteString(t.name + ": " + t.value + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// resetConn ends a connection so that the other end sees a reset.
func resetConn(c net.Conn) {
	if under, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = under.NetConn() // no TLS alert
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // it is being thrown away
	}
	_ = c.Close() // the reset is the message
}

// closeWrite ends our direction.
func closeWrite(c net.Conn) error {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
