package h2

import (
	"hash/maphash"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An encoder writes header blocks. A line goes into the compression table when
// it comes the second time: those that come once (dates, trace ids) would only
// push out the others. The connection's lock guards it.
type encoder struct {
	hp    *hpack.Encoder
	out   bytesWriter
	seed  maphash.Seed
	seen  [64]uint32        // hashes of lines that came
	names map[string]string // names that were not in lower case
}

// Bounds of the names a connection remembers in lower case.
const (
	maxNames    = 128
	maxNameSize = 64
)

type bytesWriter []byte

func (w *bytesWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

func newEncoder() *encoder {
	e := &encoder{seed: maphash.MakeSeed()}
	e.hp = hpack.NewEncoder(&e.out)
	e.hp.SetMaxDynamicTableSizeLimit(tableSize)
	return e
}

// begin is ready for another block.
func (e *encoder) begin() {
	if cap(e.out) > 16<<10 {
		e.out = nil
	}
	e.out = e.out[:0]
}

// pseudo adds a pseudo field of which there are few values.
func (e *encoder) pseudo(name, value string) {
	_ = e.hp.WriteField(hpack.HeaderField{Name: name, Value: value}) // out takes everything
}

// field adds a line.
func (e *encoder) field(name, value string) {
	// "Sensitive" is the encoder's word for a line that is not to be kept.
	_ = e.hp.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: !e.again(name, value)}) // as above
}

// again reports whether the line has come before, and may be kept.
func (e *encoder) again(name, value string) bool {
	switch name {
	case "authorization", "cookie", "set-cookie", "proxy-authorization", "dapr-api-token":
		return false // RFC 7541 §7.1.3
	}
	h := uint32(maphash.String(e.seed, value)) ^ uint32(maphash.String(e.seed, name))*31 | 1 //nolint:gosec // a hash
	slot := &e.seen[h>>1%uint32(len(e.seen))]
	known := *slot == h
	*slot = h
	return known
}

// fields adds lines, names in lower case, without those that have no place in
// HTTP/2.
func (e *encoder) fields(fields invoke.Fields, named []string) {
	for i := range fields {
		if invoke.OfOneHop(fields[i].Name, named) {
			continue
		}
		e.field(e.lower(fields[i].Name), fields[i].Value)
	}
}

// lower is name in lower case.
func (e *encoder) lower(name string) string {
	upper := false
	for i := range len(name) {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			upper = true
			break
		}
	}
	if !upper {
		return name
	}
	if known, ok := e.names[name]; ok {
		return known
	}
	low := strings.ToLower(name)
	if len(e.names) < maxNames && len(name) <= maxNameSize {
		if e.names == nil {
			e.names = make(map[string]string)
		}
		e.names[strings.Clone(name)] = low
	}
	return low
}

// appendHead appends the block as frames of a stream.
func (e *encoder) appendHead(out []byte, id uint32, end bool) []byte {
	rest := []byte(e.out)
	kind, flags := http2.FrameHeaders, http2.Flags(0)
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for {
		n := min(len(rest), frameLimit)
		if n == len(rest) {
			flags |= http2.FlagHeadersEndHeaders // CONTINUATION has the same bit
		}
		out = appendFrame(out, kind, flags, id, rest[:n])
		if rest = rest[n:]; len(rest) == 0 {
			return out
		}
		kind, flags = http2.FrameContinuation, 0
	}
}

// appendFrame appends a frame.
func appendFrame(out []byte, kind http2.FrameType, flags http2.Flags, id uint32, payload []byte) []byte {
	n := len(payload)
	out = append(out, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags), //nolint:gosec // 24 bits at most
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id)) //nolint:gosec // its bytes
	return append(out, payload...)
}

// checkFields says which line cannot be sent.
func checkFields(fields invoke.Fields) string {
	for i := range fields {
		if !httpguts.ValidHeaderFieldName(fields[i].Name) || !httpguts.ValidHeaderFieldValue(fields[i].Value) {
			return clip(fields[i].Name)
		}
	}
	return ""
}
