package app

import (
	"bytes"
	"strconv"
	"strings"
)

// framing is how an answer's body stands on the wire.
type framing struct {
	chunked bool
	body    int64 // bytes to read; -1: until the connection closes
	length  int64 // what the answer says of its length
	keep    bool
}

// frame applies RFC 9112 §6.3.
func frame(head *answerHead, verb string) (framing, error) {
	f := framing{body: -1, length: -1, keep: head.alive()}
	switch {
	case verb == "HEAD" || head.status == 304:
		f.body, f.length = 0, head.length
	case head.status == 204:
		f.body, f.length = 0, 0
	case head.coding != "":
		if !strings.EqualFold(head.coding, "chunked") {
			return f, malformed("the transfer coding %s", strconv.Quote(cut(head.coding)))
		}
		if head.minor == 0 { // faulty framing, §6.1
			return f, malformed("a transfer coding in HTTP/1.0")
		}
		f.chunked = true
		// A length beside it is overridden; who sends both is not to be trusted
		// with another request (§6.1).
		f.keep = f.keep && head.length < 0
	case head.length >= 0:
		f.body, f.length = head.length, head.length
	default:
		f.keep = false
	}
	return f, nil
}

// maxChunkLine bounds the line before a chunk, extensions included.
const maxChunkLine = 4 << 10

// chunkSize reads a chunk's line. Extensions are for the next hop only: they
// are ignored (RFC 9112 §7.1.1).
func chunkSize(line []byte) (int64, error) {
	size, digits := int64(0), 0
	for digits < len(line) {
		value, ok := hexValue(line[digits])
		if !ok {
			break
		}
		size = size<<4 | value
		digits++
	}
	rest := bytes.TrimLeft(line[min(digits, len(line)):], " \t")
	extended := len(rest) > 0 && rest[0] == ';'
	if digits == 0 || digits > 15 || len(line) > maxChunkLine || (!extended && !isEmptyLine(rest)) {
		return 0, malformed("a chunk's size")
	}
	return size, nil
}

func hexValue(c byte) (int64, bool) {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0'), true
	case c >= 'a' && c <= 'f':
		return int64(c-'a') + 10, true
	case c >= 'A' && c <= 'F':
		return int64(c-'A') + 10, true
	default:
		return 0, false
	}
}

// chunksIn walks over the chunks b begins with, up to the line of the last one,
// and returns how much data they hold and what follows; or not ok if they are
// not all there, or not right. With gather the data is moved together to the
// beginning of b.
func chunksIn(b []byte, gather bool) (data, end int, ok bool) {
	for {
		at := bytes.IndexByte(b[end:], '\n')
		if at < 0 {
			return 0, 0, false
		}
		size, err := chunkSize(b[end : end+at+1])
		end += at + 1
		if err != nil || size > int64(len(b)-end) {
			return 0, 0, false
		}
		if size == 0 {
			return data, end, true
		}
		chunk := b[end : end+int(size)]
		if gather {
			copy(b[data:], chunk)
		}
		data += len(chunk)
		end += len(chunk)
		switch rest := b[end:]; {
		case bytes.HasPrefix(rest, []byte("\r\n")):
			end += 2
		case bytes.HasPrefix(rest, []byte("\n")):
			end++
		default:
			return 0, 0, false
		}
	}
}

// hasBlock reports whether b holds lines up to an empty one.
func hasBlock(b []byte) bool {
	return bytes.HasPrefix(b, []byte("\n")) || bytes.HasPrefix(b, []byte("\r\n")) ||
		bytes.Contains(b, []byte("\n\r\n")) || bytes.Contains(b, []byte("\n\n"))
}
