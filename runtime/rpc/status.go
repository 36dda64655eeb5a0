package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	_ "google.golang.org/genproto/googleapis/rpc/errdetails" // details that JSON can show
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A Status is how a gRPC exchange ended.
type Status struct {
	Code    uint32
	Message string
	// Proto is the whole google.rpc.Status, if there are details.
	Proto []byte
}

func (s *Status) Error() string { return fmt.Sprintf("rpc error: code %d: %s", s.Code, s.Message) }

// StatusOf reads the status of a gRPC answer: in its trailers, or in its head
// if that is all there is.
func StatusOf(head, trailers invoke.Fields) *Status {
	at := trailers
	if !at.Has("grpc-status") {
		at = head
	}
	given := at.Get("grpc-status")
	code, err := strconv.ParseUint(given, 10, 32)
	switch {
	case given == "":
		return &Status{Code: Internal, Message: "the app ended its answer without a status"}
	case err != nil:
		return &Status{Code: Internal, Message: "the app's status is no number: " + strconv.Quote(given)}
	}
	s := &Status{Code: uint32(code), Message: plain(at.Get("grpc-message"))}
	if details := at.Get("grpc-status-details-bin"); details != "" {
		if b, err := Bytes(details); err == nil {
			s.Proto = b
		}
	}
	return s
}

// whole is the status as a message.
func (s *Status) whole() *spb.Status {
	p := &spb.Status{}
	if len(s.Proto) > 0 && proto.Unmarshal(s.Proto, p) == nil {
		return p
	}
	return &spb.Status{Code: int32(s.Code), Message: s.Message} //nolint:gosec // it is written as it came
}

// JSON is the google.rpc.Status that Dapr answers HTTP callers of a gRPC app
// with. Details whose type nobody here knows are left out: JSON cannot hold
// them.
func (s *Status) JSON() []byte {
	p := s.whole()
	known := p.GetDetails()[:0:0]
	for _, d := range p.GetDetails() {
		if _, err := protojson.Marshal(d); err == nil {
			known = append(known, d)
		}
	}
	p.Details = known
	data, err := protojson.Marshal(p)
	var one bytes.Buffer
	if err != nil || json.Compact(&one, data) != nil { // the library varies its blanks on purpose
		return fmt.Appendf(nil, `{"code":%d}`, s.Code)
	}
	return one.Bytes()
}
