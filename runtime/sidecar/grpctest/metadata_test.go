package grpctest_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// added are the names that the sidecars add, as dapr-facts has them; everything
// else must be as without them.
var added = []string{
	"dapr-app-id", "dapr-caller-app-id", "dapr-caller-namespace", "dapr-callee-app-id",
	"x-forwarded-for", "x-forwarded-host", "forwarded", ":authority",
}

// without is md without the names.
func without(md metadata.MD, names []string) metadata.MD {
	md = md.Copy()
	for _, name := range names {
		delete(md, name)
	}
	return md
}

// unlike says where got and want are unlike: metadata.MD hides most of itself.
func unlike(got, want metadata.MD) (lines []string) {
	names := slices.Collect(maps.Keys(got))
	names = slices.AppendSeq(names, maps.Keys(want))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !slices.Equal(got[name], want[name]) {
			lines = append(lines, fmt.Sprintf("%s: %.100q, without sidecars %.100q", name, got[name], want[name]))
		}
	}
	return lines
}

// everyByte is every byte there is, in an order of its own.
func everyByte() string {
	var b bytes.Buffer
	for i := range 256 {
		b.WriteByte(byte(i * 7))
	}
	return b.String()
}

// What the app sees is what it sees without sidecars, in the order it was sent.
func TestMetadataReachesTheApp(t *testing.T) {
	everywhere(t, func(s *scene) {
		seen := make(chan metadata.MD, 1)
		name := s.method(func(stream grpc.ServerStream) error {
			md, _ := metadata.FromIncomingContext(stream.Context())
			seen <- md
			return echo(stream)
		})
		sent := []string{
			"one", "1", "many", "a", "many", "b", "other", "x", "many", "a", "empty", "", "blanks", "a  b",
			"data-bin", everyByte(), "data-bin", "", "data-bin", "\x00\xff", "comma-bin", "a,b", "UPPER", "kept",
			"x-real-ip", "1.2.3.4", "authorization", "Bearer t",
			"grpc-tags-bin", "tags", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			"long", strings.Repeat("l", 20_000),
		}
		if s.exact() {
			sent = append(sent, "cookie", "a=b; c=d") // several lines would become one (RFC 9113 §8.2.3)
		}
		stream := s.open(s.ctx(sent...), name)
		through := <-seen
		_ = stream.CloseSend() // the answer is what counts
		s.mustEnd(stream)

		ctx := metadata.AppendToOutgoingContext(s.t.Context(), sent...)
		stream = open(s.t, s.direct(), ctx, name)
		bare := <-seen
		_ = stream.CloseSend() // the answer is what counts
		s.mustEnd(stream)

		for _, line := range unlike(without(through, added), without(bare, added)) {
			s.t.Error(line)
		}
		if got := through.Get("dapr-caller-app-id"); !slices.Equal(got, []string{"web"}) {
			s.t.Errorf("dapr-caller-app-id = %q", got)
		}
		if got := through.Get("dapr-callee-app-id"); !slices.Equal(got, []string{s.id}) {
			s.t.Errorf("dapr-callee-app-id = %q", got)
		}
	})
}

// Who calls comes from the certificate, whatever the client says.
func TestCallerCannotBeForged(t *testing.T) {
	everywhere(t, func(s *scene) {
		seen := make(chan metadata.MD, 1)
		name := s.method(func(stream grpc.ServerStream) error {
			md, _ := metadata.FromIncomingContext(stream.Context())
			seen <- md
			return echo(stream)
		})
		if _, err := s.ask(s.ctx("dapr-caller-app-id", "boss", "dapr-caller-namespace", "other"), name, ""); err != nil {
			s.t.Fatal(err)
		}
		md := <-seen
		if got := md.Get("dapr-caller-app-id"); !slices.Equal(got, []string{"web"}) {
			s.t.Errorf("dapr-caller-app-id = %q", got)
		}
		if got := md.Get("dapr-caller-namespace"); !slices.Equal(got, []string{"default"}) {
			s.t.Errorf("dapr-caller-namespace = %q", got)
		}
	})
}

// Headers come before the first message, trailers behind the last, and both
// are those of the app alone.
func TestHeadersAndTrailersReachTheClient(t *testing.T) {
	everywhere(t, func(s *scene) {
		release := make(chan struct{}, 2)
		headers := metadata.Pairs("h", "1", "h", "2", "h-bin", everyByte(), "shared", "head", "empty", "")
		trailers := metadata.Pairs("t", "2", "t", "1", "t-bin", everyByte(), "shared", "tail", "t-bin", "more")
		name := s.method(func(stream grpc.ServerStream) error {
			if err := stream.SendHeader(headers); err != nil {
				return err
			}
			<-release
			stream.SetTrailer(trailers)
			return echo(stream)
		})
		read := func(stream grpc.ClientStream) (head, tail metadata.MD) {
			s.t.Helper()
			head, err := stream.Header() // before any message
			if err != nil {
				s.t.Fatal(err)
			}
			release <- struct{}{}
			s.mustSay(stream, "text")
			_ = stream.CloseSend() // the answer is what counts
			s.mustHear(stream, "text")
			s.mustEnd(stream)
			return head, stream.Trailer()
		}
		head, tail := read(s.open(s.ctx(), name))
		bareHead, bareTail := read(open(s.t, s.direct(), s.t.Context(), name))
		for _, line := range append(unlike(head, bareHead), unlike(tail, bareTail)...) {
			s.t.Error(line)
		}
	})
}

// The app is found by any of the names it may be called by.
func TestTargets(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(echo)
		for what, md := range map[string]metadata.MD{
			"app id":        metadata.Pairs("dapr-app-id", s.id),
			"with scope":    metadata.Pairs("dapr-app-id", s.id+".default"),
			"callee app id": metadata.Pairs("dapr-callee-app-id", s.id),
		} {
			ctx := metadata.NewOutgoingContext(s.t.Context(), md)
			if got, err := s.ask(ctx, name, "x"); err != nil || got != "x" {
				s.t.Errorf("%s: %q, %v", what, got, err)
			}
		}
		hosted := dial(s.t, s.door, grpc.WithAuthority(s.id+".localhost"))
		stream := open(s.t, hosted, s.t.Context(), name)
		s.mustSay(stream, "by host name")
		s.mustHear(stream, "by host name")
	})
}
