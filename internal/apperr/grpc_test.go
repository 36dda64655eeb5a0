package apperr_test

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// A gRPC client decodes the status to what the JSON door says.
func TestStatusProtoIsAStatus(t *testing.T) {
	t.Parallel()
	e := &apperr.Error{
		Reason: apperr.PeerUnreachable, Cause: strings.Repeat("long ", 100), Hint: "pillion logs x",
		Reached: apperr.ReachedNo, Instance: "abcdefgh",
	}
	var got spb.Status
	if err := proto.Unmarshal(e.StatusProto(14, "ünreachable"), &got); err != nil {
		t.Fatal(err)
	}
	if got.GetCode() != 14 || got.GetMessage() != "ünreachable" || len(got.GetDetails()) != 1 {
		t.Fatalf("status = %v", &got)
	}
	info := new(errdetails.ErrorInfo)
	if err := got.GetDetails()[0].UnmarshalTo(info); err != nil {
		t.Fatal(err)
	}
	want := e.Details()[0]
	if info.GetReason() != string(want.Reason) || info.GetDomain() != want.Domain || len(info.GetMetadata()) != len(want.Metadata) {
		t.Errorf("details = %v, want %v", info, want)
	}
	for key, value := range want.Metadata {
		if info.GetMetadata()[key] != value {
			t.Errorf("%s = %q, want %q", key, info.GetMetadata()[key], value)
		}
	}
}
