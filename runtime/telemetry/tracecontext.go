package telemetry

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// Fields that carry a trace.
const (
	fieldParent = "Traceparent"
	fieldState  = "Tracestate"
	fieldBinary = "Grpc-Trace-Bin" // gRPC's older form
)

// flagSampled is traceparent's flag of a trace that is recorded.
const flagSampled = 1

// maxState is the longest tracestate that is read and said on an answer, as
// Dapr's.
const maxState = 512

// A traceContext is a place in a trace, as it crosses a hop. The zero value is
// none: W3C Trace Context allows no id of zeros.
type traceContext struct {
	trace [16]byte
	span  [8]byte
	flags byte
}

func (c traceContext) valid() bool   { return c.trace != [16]byte{} && c.span != [8]byte{} }
func (c traceContext) sampled() bool { return c.flags&flagSampled != 0 }

// parentLength is the length of a traceparent of version 00.
const parentLength = len("00-") + 32 + 1 + 16 + len("-00")

// parseParent reads a traceparent (W3C Trace Context §3.2). Of a version that is
// not known yet it reads what version 00 has.
func parseParent(s string) (c traceContext, ok bool) {
	if len(s) < parentLength || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return c, false
	}
	var version, flags [1]byte
	if !unhex(version[:], s[:2]) || !unhex(c.trace[:], s[3:35]) || !unhex(c.span[:], s[36:52]) || !unhex(flags[:], s[53:55]) {
		return c, false
	}
	if version[0] == 0xff || len(s) > parentLength && (version[0] == 0 || s[parentLength] != '-') {
		return c, false
	}
	c.flags = flags[0]
	return c, c.valid()
}

// unhex reads lower-case digits only, as the standard wants them.
func unhex(to []byte, s string) bool {
	for i := range to {
		high, low := digit(s[2*i]), digit(s[2*i+1])
		if high > 15 || low > 15 {
			return false
		}
		to[i] = high<<4 | low
	}
	return true
}

func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	default:
		return 0xff
	}
}

// String is the traceparent.
func (c traceContext) String() string {
	var b [parentLength]byte
	copy(b[:], "00-")
	hex.Encode(b[3:], c.trace[:])
	b[35] = '-'
	hex.Encode(b[36:], c.span[:])
	b[52] = '-'
	hex.Encode(b[53:], []byte{c.flags})
	return string(b[:])
}

// Numbers of the parts of grpc-trace-bin, each before its value.
const (
	binaryTrace = iota
	binarySpan
	binaryFlags
	binaryLength = 1 + 1 + 16 + 1 + 8 + 1 + 1
)

// parseBinary reads a grpc-trace-bin as it stands in a field, in base64 with or
// without its padding.
func parseBinary(s string) (c traceContext, ok bool) {
	s = strings.TrimRight(s, "=")
	if base64.RawStdEncoding.DecodedLen(len(s)) != binaryLength {
		return c, false
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || b[0] != 0 || b[1] != binaryTrace || b[18] != binarySpan || b[27] != binaryFlags {
		return c, false
	}
	copy(c.trace[:], b[2:])
	copy(c.span[:], b[19:])
	c.flags = b[28]
	return c, c.valid()
}

// binary is the grpc-trace-bin.
func (c traceContext) binary() string {
	var b [binaryLength]byte
	b[1] = binaryTrace
	copy(b[2:], c.trace[:])
	b[18] = binarySpan
	copy(b[19:], c.span[:])
	b[27] = binaryFlags
	b[28] = c.flags
	return base64.RawStdEncoding.EncodeToString(b[:])
}
