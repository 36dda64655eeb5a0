package grpctest_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// Every code, with a message of every kind of letter and details of several
// types, comes as the app sent it, before and behind messages.
func TestStatusIsTheApps(t *testing.T) {
	everywhere(t, func(s *scene) {
		for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
			want, err := status.New(code, "no — 100 % \t\"ünïcode\" \n\x7f 日本").WithDetails(
				&errdetails.ErrorInfo{Reason: "R", Domain: "d", Metadata: map[string]string{"k": "v"}},
				&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)},
			)
			if err != nil {
				s.t.Fatal(err)
			}
			for _, messages := range []int{0, 2} {
				stream := s.open(s.ctx(), s.method(func(stream grpc.ServerStream) error {
					for range messages {
						if err := say(stream, "m"); err != nil {
							return err
						}
					}
					return want.Err()
				}))
				for range messages {
					s.mustHear(stream, "m")
				}
				_, err := hear(stream)
				if got := status.Convert(err); !proto.Equal(got.Proto(), want.Proto()) {
					s.t.Errorf("after %d messages: %v, want %v", messages, got, want)
				}
			}
		}
	})
}

// An answer that is only trailers stays one: its metadata come as without
// sidecars.
func TestTrailersOnly(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(func(stream grpc.ServerStream) error {
			stream.SetTrailer(metadata.Pairs("why", "because", "why-bin", "\x00"))
			return status.Error(codes.NotFound, "no such thing")
		})
		read := func(stream grpc.ClientStream) (head, tail metadata.MD) {
			s.t.Helper()
			if _, err := hear(stream); status.Code(err) != codes.NotFound {
				s.t.Fatalf("error = %v", err)
			}
			head, err := stream.Header()
			if err != nil && !errors.Is(err, io.EOF) && status.Code(err) != codes.NotFound {
				s.t.Fatal(err)
			}
			return head, stream.Trailer()
		}
		head, tail := read(s.open(s.ctx(), name))
		bareHead, bareTail := read(open(s.t, s.direct(), s.t.Context(), name))
		if !s.exact() {
			delete(tail, "content-length")
		}
		for _, line := range append(unlike(head, bareHead), unlike(tail, bareTail)...) {
			s.t.Error(line)
		}
	})
}

func TestUnimplementedIsTheApps(t *testing.T) {
	everywhere(t, func(s *scene) {
		_, err := s.ask(s.ctx(), "/no.Such/Method", "")
		if got := status.Convert(err); got.Code() != codes.Unimplemented || got.Message() != "the app has no /no.Such/Method" {
			s.t.Errorf("error = %v", err)
		}
	})
}

// ours checks that an error is one of pillion's, with its words and details.
func ours(t *testing.T, err error, reason apperr.Reason) *errdetails.ErrorInfo {
	t.Helper()
	got := status.Convert(err)
	if got.Code() != codes.Code(reason.GRPC()) || got.Message() == "" {
		t.Errorf("error = %v, want %v", err, codes.Code(reason.GRPC()))
	}
	for _, detail := range got.Details() {
		info, ok := detail.(*errdetails.ErrorInfo)
		if !ok {
			continue
		}
		if info.GetDomain() != apperr.Domain || info.GetReason() != string(reason) || info.GetMetadata()["hop"] == "" {
			t.Errorf("details = %v, want %s", info, reason)
		}
		return info
	}
	t.Errorf("no details in %v", err)
	return nil
}

func TestAppNotFound(t *testing.T) {
	everywhere(t, func(s *scene) {
		ctx := metadata.NewOutgoingContext(s.t.Context(), metadata.Pairs("dapr-app-id", "nobody"))
		_, err := s.ask(ctx, "/any.Service/Method", "")
		info := ours(s.t, err, apperr.AppNotFound)
		if info.GetMetadata()["reached"] != "no" {
			s.t.Errorf("details = %v", info)
		}
	})
}

func TestNoTarget(t *testing.T) {
	everywhere(t, func(s *scene) {
		_, err := s.ask(s.t.Context(), "/any.Service/Method", "")
		if got := status.Convert(err); got.Code() != codes.Unknown ||
			got.Message() != "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata" {
			s.t.Errorf("error = %v", err)
		}
	})
}
