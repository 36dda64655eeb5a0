package grpctest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// noise are bytes that cannot be compressed.
func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // it cannot fail
	return data
}

func TestLargeMessages(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(func(stream grpc.ServerStream) error {
			in := new(wrapperspb.BytesValue)
			for range 2 {
				if err := stream.RecvMsg(in); err != nil {
					return err
				}
				if err := stream.SendMsg(in); err != nil {
					return err
				}
			}
			return nil
		})
		out, in := wrapperspb.Bytes(noise(16<<20)), new(wrapperspb.BytesValue)
		stream := s.open(s.ctx(), name)
		for range 2 {
			if err := stream.SendMsg(out); err != nil {
				s.t.Fatal(err)
			}
			if err := stream.RecvMsg(in); err != nil {
				s.t.Fatal(err)
			}
			if !bytes.Equal(in.GetValue(), out.GetValue()) {
				s.t.Fatal("the message came back changed")
			}
		}
		s.mustEnd(stream)
	})
}

// A client that does not read makes the app wait, not the sidecars grow.
func TestBackPressure(t *testing.T) {
	everywhere(t, func(s *scene) {
		const most = 24 << 20 // all windows and buffers on the way together
		var sent atomic.Int64
		message := wrapperspb.Bytes(noise(64 << 10))
		stream := s.open(s.ctx(), s.method(func(stream grpc.ServerStream) error {
			for {
				if err := stream.SendMsg(message); err != nil {
					return err
				}
				sent.Add(int64(len(message.GetValue())))
			}
		}))
		for before := int64(-1); ; {
			now := sent.Load()
			if now > most {
				s.t.Fatalf("the app could send %d bytes that nobody reads", now)
			}
			if now > 0 && now == before {
				break
			}
			before = now
			time.Sleep(200 * time.Millisecond) // between looks at whether it still grows
		}
		in := new(wrapperspb.BytesValue)
		for got := int64(0); got < 2*most; got += int64(len(in.GetValue())) {
			if err := stream.RecvMsg(in); err != nil {
				s.t.Fatal(err)
			}
		}
	})
}

// Many streams at once, each with a talk of its own.
func TestParallelStreamsDoNotMix(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(echo)
		var all sync.WaitGroup
		for n := range 100 {
			all.Go(func() {
				stream := s.open(s.ctx(), name)
				for i := range 20 {
					want := fmt.Sprintf("%d/%d/%s", n, i, bytes.Repeat([]byte(strconv.Itoa(n)), n*i))
					if err := say(stream, want); err != nil {
						s.t.Errorf("stream %d: %v", n, err)
						return
					}
					if got, err := hear(stream); err != nil || got != want {
						s.t.Errorf("stream %d got %.40q, %v; want %.40q", n, got, err, want)
						return
					}
				}
				_ = stream.CloseSend() // its end is what counts
				if _, err := hear(stream); err == nil {
					s.t.Errorf("stream %d got one message more", n)
				}
			})
		}
		all.Wait()
	})
}

// Unary calls from many clients at once get their own answers.
func TestParallelCallsDoNotMix(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(echo)
		var all sync.WaitGroup
		for n := range 50 {
			all.Go(func() {
				for i := range 20 {
					want := fmt.Sprintf("%d/%d", n, i)
					if got, err := s.ask(s.ctx(), name, want); err != nil || got != want {
						s.t.Errorf("%q, %v; want %q", got, err, want)
					}
				}
			})
		}
		all.Wait()
	})
}
