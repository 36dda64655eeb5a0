package apperr

import (
	"maps"
	"slices"
)

// StatusProto is the failure as a google.rpc.Status with the same details as
// Details, in protobuf's encoding: what a gRPC door sends, base64 without
// padding, as grpc-status-details-bin.
func (e *Error) StatusProto(code uint32, message string) []byte {
	const (
		statusCode, statusMessage, statusDetails = 1, 2, 3 // google.rpc.Status
		anyType, anyValue                        = 1, 2    // google.protobuf.Any
		infoReason, infoDomain, infoMetadata     = 1, 2, 3 // google.rpc.ErrorInfo
		entryKey, entryValue                     = 1, 2    // a map's entry
	)
	b := appendVarint(append([]byte(nil), statusCode<<3), uint64(code))
	b = appendBytes(b, statusMessage, message)
	for _, d := range e.Details() {
		info := appendBytes(nil, infoReason, string(d.Reason))
		info = appendBytes(info, infoDomain, d.Domain)
		for _, key := range slices.Sorted(maps.Keys(d.Metadata)) {
			entry := appendBytes(nil, entryKey, key)
			entry = appendBytes(entry, entryValue, d.Metadata[key])
			info = appendBytes(info, infoMetadata, string(entry))
		}
		detail := appendBytes(nil, anyType, d.Type)
		detail = appendBytes(detail, anyValue, string(info))
		b = appendBytes(b, statusDetails, string(detail))
	}
	return b
}

// appendBytes appends a protobuf field that has a length.
func appendBytes(b []byte, field byte, value string) []byte {
	const lengthDelimited = 2
	b = append(b, field<<3|lengthDelimited)
	b = appendVarint(b, uint64(len(value)))
	return append(b, value...)
}

func appendVarint(b []byte, n uint64) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}
