package rpc

import (
	"encoding/hex"
	"strings"
)

// TraceBin is the name of a trace context in its binary form.
const TraceBin = "grpc-trace-bin"

// The binary form: a version, and three numbered fields.
const (
	binSize  = 29
	atTrace  = 2
	atSpan   = 19
	atFlags  = 28
	traceLen = 16
	spanLen  = 8
)

// BinaryTrace is a W3C traceparent in gRPC's binary form; nil if it is none.
func BinaryTrace(traceparent string) []byte {
	parts := strings.Split(traceparent, "-")
	if len(parts) < 4 || len(parts[1]) != 2*traceLen || len(parts[2]) != 2*spanLen || len(parts[3]) != 2 {
		return nil
	}
	b := make([]byte, binSize)
	b[atSpan-1], b[atFlags-1] = 1, 2
	for at, text := range map[int]string{atTrace: parts[1], atSpan: parts[2], atFlags: parts[3]} {
		if _, err := hex.Decode(b[at:], []byte(text)); err != nil {
			return nil
		}
	}
	return b
}

// Traceparent is a trace context in gRPC's binary form as W3C writes it; "" if
// it is none.
func Traceparent(b []byte) string {
	if len(b) < binSize || b[0] != 0 || b[1] != 0 || b[atSpan-1] != 1 || b[atFlags-1] != 2 {
		return ""
	}
	return "00-" + hex.EncodeToString(b[atTrace:atTrace+traceLen]) + "-" +
		hex.EncodeToString(b[atSpan:atSpan+spanLen]) + "-" + hex.EncodeToString(b[atFlags:atFlags+1])
}
