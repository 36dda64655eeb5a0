package grpctest_test

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
)

func TestUnary(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(echo)
		for _, text := range []string{"hello", "", strings.Repeat("x", 100_000)} {
			if got, err := s.ask(s.ctx(), name, text); err != nil || got != text {
				s.t.Errorf("%d bytes, %v; want %d", len(got), err, len(text))
			}
		}
	})
}

func TestClientStream(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(func(stream grpc.ServerStream) error {
			var all []string
			for {
				text, err := hear(stream)
				if errors.Is(err, io.EOF) {
					return say(stream, strings.Join(all, " "))
				}
				if err != nil {
					return err
				}
				all = append(all, text)
			}
		})
		for _, words := range []string{"one two three", "one", ""} {
			stream := s.open(s.ctx(), name)
			for word := range strings.FieldsSeq(words) {
				s.mustSay(stream, word)
			}
			if err := stream.CloseSend(); err != nil {
				s.t.Fatal(err)
			}
			s.mustHear(stream, words)
			s.mustEnd(stream)
		}
	})
}

func TestServerStream(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(func(stream grpc.ServerStream) error {
			text, err := hear(stream)
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(text)
			for i := range n {
				if err := say(stream, strconv.Itoa(i)); err != nil {
					return err
				}
			}
			return err
		})
		for _, n := range []int{0, 1, 1000} {
			stream := s.open(s.ctx(), name)
			s.mustSay(stream, strconv.Itoa(n))
			if err := stream.CloseSend(); err != nil {
				s.t.Fatal(err)
			}
			for i := range n {
				s.mustHear(stream, strconv.Itoa(i))
			}
			s.mustEnd(stream)
		}
	})
}

// Each message waits for the one before it to come back, so nothing may be
// kept for company.
func TestBidirectionalStream(t *testing.T) {
	everywhere(t, func(s *scene) {
		stream := s.open(s.ctx(), s.method(echo))
		for i := range 100 {
			s.mustSay(stream, strconv.Itoa(i))
			s.mustHear(stream, strconv.Itoa(i))
		}
		if err := stream.CloseSend(); err != nil {
			s.t.Fatal(err)
		}
		s.mustEnd(stream)
	})
}

// The app speaks first, before the client has sent a message.
func TestServerSpeaksFirst(t *testing.T) {
	everywhere(t, func(s *scene) {
		stream := s.open(s.ctx(), s.method(func(stream grpc.ServerStream) error {
			if err := say(stream, "welcome"); err != nil {
				return err
			}
			return echo(stream)
		}))
		s.mustHear(stream, "welcome")
		s.mustSay(stream, "thanks")
		s.mustHear(stream, "thanks")
		if err := stream.CloseSend(); err != nil {
			s.t.Fatal(err)
		}
		s.mustEnd(stream)
	})
}

// The app goes on after the client has said all.
func TestClientHalfCloses(t *testing.T) {
	everywhere(t, func(s *scene) {
		stream := s.open(s.ctx(), s.method(func(stream grpc.ServerStream) error {
			if err := echo(stream); err != nil {
				return err
			}
			for range 10 {
				if err := say(stream, "more"); err != nil {
					return err
				}
			}
			return nil
		}))
		s.mustSay(stream, "last")
		s.mustHear(stream, "last")
		if err := stream.CloseSend(); err != nil {
			s.t.Fatal(err)
		}
		for range 10 {
			s.mustHear(stream, "more")
		}
		s.mustEnd(stream)
	})
}

// The app answers while the client still sends.
func TestServerEndsFirst(t *testing.T) {
	everywhere(t, func(s *scene) {
		stream := s.open(s.ctx(), s.method(func(stream grpc.ServerStream) error {
			_, err := hear(stream)
			if err != nil {
				return err
			}
			return say(stream, "enough")
		}))
		s.mustSay(stream, "one")
		s.mustHear(stream, "enough")
		s.mustEnd(stream)
		until(s.t, "the client's sending has ended", func() bool { return errors.Is(say(stream, "two"), io.EOF) })
	})
}
