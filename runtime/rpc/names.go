package rpc

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// prefix goes before names that mean something to HTTP itself.
const prefix = "dapr-"

// binarySuffix ends the names of metadata whose values are bytes.
const binarySuffix = "-bin"

// permanent are the header lines that get the prefix on their way into
// metadata. The list is Dapr's.
var permanent = map[string]bool{
	"accept": true, "accept-charset": true, "accept-language": true, "accept-ranges": true,
	"connection": true, "keep-alive": true, "proxy-connection": true, "transfer-encoding": true, "upgrade": true,
	"cache-control": true, "content-type": true, "content-length": true, "cookie": true, "date": true,
	"expect": true, "from": true, "host": true,
	"if-match": true, "if-modified-since": true, "if-none-match": true, "if-schedule-tag-match": true, "if-unmodified-since": true,
	"max-forwards": true, "origin": true, "pragma": true, "referer": true, "via": true, "warning": true,
}

// framing are the lines of gRPC's own: they belong to one exchange and are
// nobody's metadata.
func framing(name string) bool {
	switch name {
	case "content-type", "te", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "grpc-message-type",
		"grpc-status", "grpc-message", "grpc-status-details-bin":
		return true
	}
	return strings.HasPrefix(name, ":")
}

// ToMetadata is an HTTP head's lines as metadata, names in lower case and values
// as they stand on the wire. What metadata cannot hold is left out.
func ToMetadata(fields invoke.Fields) invoke.Fields {
	out := make(invoke.Fields, 0, len(fields)+1)
	for _, f := range fields {
		name, value := strings.ToLower(f.Name), f.Value
		switch {
		case permanent[name]:
			name = prefix + name
		case framing(name):
			continue
		case strings.HasSuffix(name, binarySuffix):
			value = Text([]byte(value))
		}
		if isKey(name) && isPrintable(value) {
			out.Add(name, value)
		}
	}
	return out
}

// Metadata is the part of a gRPC head, or of its trailers, that is metadata, as
// it came.
func Metadata(fields invoke.Fields) invoke.Fields {
	out := make(invoke.Fields, 0, len(fields)+1)
	for _, f := range fields {
		if name := strings.ToLower(f.Name); !framing(name) && isKey(name) && isPrintable(f.Value) {
			out.Add(name, f.Value)
		}
	}
	return out
}

// ToHeader is metadata as an HTTP head's lines: bytes have no place there, and
// names that begin like gRPC's own get a prefix.
func ToHeader(metadata invoke.Fields) invoke.Fields {
	out := make(invoke.Fields, 0, len(metadata))
	for _, f := range metadata {
		name := strings.ToLower(f.Name)
		switch {
		case strings.HasSuffix(name, binarySuffix), name == "content-type", name == "content-length":
			continue
		case strings.HasPrefix(name, "grpc-"):
			name = prefix + name
		case strings.HasPrefix(name, ":"):
			name = prefix + name[1:]
		}
		out.Add(http.CanonicalHeaderKey(name), f.Value)
	}
	return out
}

// IsBinary reports whether metadata of that name has bytes as values, which
// stand in a head in base64.
func IsBinary(name string) bool {
	return len(name) > len(binarySuffix) && strings.EqualFold(name[len(name)-len(binarySuffix):], binarySuffix)
}

// Bytes are a binary value as it stands in a head, with padding or without.
func Bytes(value string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
}

// Text is a binary value as it stands in a head.
func Text(value []byte) string { return base64.StdEncoding.EncodeToString(value) }

// isKey reports whether a name in lower case can be metadata's.
func isKey(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return name != ""
}

func isPrintable(value string) bool {
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return false
		}
	}
	return true
}

// IsGRPC reports whether an answer is a gRPC server's.
func IsGRPC(a *invoke.Answer) bool { return a.Status == http.StatusOK && IsExchange(a.Fields) }

// IsExchange reports whether a head is of a gRPC exchange.
func IsExchange(head invoke.Fields) bool {
	const grpc = "application/grpc"
	kind := head.Get("content-type")
	return strings.HasPrefix(kind, grpc) && (len(kind) == len(grpc) || kind[len(grpc)] == '+' || kind[len(grpc)] == ';')
}

// Percent is a status's message as it stands in a line: printable ASCII but %,
// everything else encoded byte by byte.
func Percent(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// plain undoes Percent. What is no encoding stays as it is.
func plain(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(n))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}
