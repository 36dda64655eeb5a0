// Package rpcstatus writes a google.rpc.Status in protobuf's encoding, for
// those who say errors over gRPC and need nothing else of protobuf.
package rpcstatus

import (
	"maps"
	"slices"
)

// A Detail is one message of a status's details.
type Detail struct {
	// Type is the message's full name, such as google.rpc.ErrorInfo.
	Type  string
	Value []byte
}

// typePrefix makes a type's URL of its name.
const typePrefix = "type.googleapis.com/"

// Encode is the status: what grpc-status-details-bin carries, in base64.
func Encode(code uint32, message string, details ...Detail) []byte {
	const (
		statusCode, statusMessage, statusDetails = 1, 2, 3 // google.rpc.Status
		anyType, anyValue                        = 1, 2    // google.protobuf.Any
	)
	b := appendVarint(append([]byte(nil), statusCode<<3), uint64(code))
	b = appendText(b, statusMessage, message)
	for _, d := range details {
		detail := appendText(nil, anyType, typePrefix+d.Type)
		detail = appendText(detail, anyValue, string(d.Value))
		b = appendText(b, statusDetails, string(detail))
	}
	return b
}

// ErrorInfo is a google.rpc.ErrorInfo.
func ErrorInfo(reason, domain string, metadata map[string]string) Detail {
	const (
		infoReason, infoDomain, infoMetadata = 1, 2, 3
		entryKey, entryValue                 = 1, 2 // a map's entry
	)
	info := appendText(nil, infoReason, reason)
	info = appendText(info, infoDomain, domain)
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		entry := appendText(nil, entryKey, key)
		entry = appendText(entry, entryValue, metadata[key])
		info = appendText(info, infoMetadata, string(entry))
	}
	return Detail{Type: "google.rpc.ErrorInfo", Value: info}
}

// appendText appends a protobuf field that has a length.
func appendText(b []byte, field byte, value string) []byte {
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
