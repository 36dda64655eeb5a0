package mesh_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// completeBody has everything there, trailers too.
type completeBody struct {
	invoke.Body
	rest     []byte
	trailers invoke.Fields
}

func (b *completeBody) Complete() ([]byte, invoke.Fields, bool) { return b.rest, b.trailers, true }

func complete(body string, trailers invoke.Fields) invoke.Body {
	return &completeBody{invoke.BytesBody([]byte(body)), []byte(body), trailers}
}

// What is there as a whole on one side is there as a whole on the other, and
// can be read there all the same.
func TestASmallBodyArrivesAsAWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	trailers := invoke.Fields{{Name: "Grpc-Status", Value: "0"}, {Name: "grpc-message", Value: "x"}}
	type seen struct {
		Rest     string
		Trailers invoke.Fields
		Whole    bool
	}
	got := make(chan seen, 1)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		rest, trailers, ok := invoke.Complete(c.Body)
		read, err := io.ReadAll(c.Body)
		if err != nil || !bytes.Equal(read, rest) {
			t.Errorf("Complete gives %q, Read %q, %v", rest, read, err)
		}
		got <- seen{string(rest), trailers, ok}
		return &invoke.Answer{Status: 200, Major: 2, Length: -1, Body: complete(string(rest), trailers)}, nil
	})
	tr := w.transport()
	for name, tt := range map[string]seen{
		"nothing":       {"", nil, true},
		"small":         {"54 bytes of a body", nil, true},
		"a full frame":  {string(pattern(16<<10, 1)), nil, true},
		"trailers":      {"a message", trailers, true},
		"only trailers": {"", trailers, true},
	} {
		c := call("")
		c.Body, c.Length = complete(tt.Rest, tt.Trailers), -1
		a := w.send(tr, s.at, c)
		if diff := cmp.Diff(tt, within(t, "the callee", got)); diff != "" {
			t.Errorf("%s: the callee: %s", name, diff)
		}
		rest, behind, ok := invoke.Complete(a.Body)
		if diff := cmp.Diff(tt, seen{string(rest), behind, ok}); diff != "" {
			t.Errorf("%s: the caller: %s", name, diff)
		}
		if _, whole := invoke.Whole(a.Body); whole != (len(tt.Trailers) == 0) {
			t.Errorf("%s: whole without what follows: %v", name, whole)
		}
		read, err := io.ReadAll(a.Body)
		if string(read) != tt.Rest || err != nil || !cmp.Equal(a.Body.Trailers(), tt.Trailers) {
			t.Errorf("%s: read %q, %v, %v", name, read, err, a.Body.Trailers())
		}
		_ = a.Body.Close()
	}
	until(t, "no call is open", func() bool { return s.Inflight() == 0 })
}

// A large body is no whole at the other end, and arrives all the same.
func TestALargeBodyIsNoWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whole := make(chan bool, 1)
	s := w.serve(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		_, ok := invoke.Whole(c.Body)
		whole <- ok
		return echo(ctx, c)
	})
	c := call(string(pattern(300<<10, 3)))
	if got := w.roundTrip(w.transport(), s.at, c); got != string(pattern(300<<10, 3)) {
		t.Errorf("%d bytes came back", len(got))
	}
	if within(t, "whether it came whole", whole) {
		t.Error("more than a window was there at once")
	}
}

// A call costs one record each way: head, body and end of a small call go in
// one write, with the hello of a new link too.
func TestASmallCallIsOneRecordEachWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := make(chan []byte, 1)
	at := w.raw(t, func(c net.Conn) {
		s := tls.Server(c, tlsServer(w.callee))
		_, _ = s.Write(frame(1, 0, hello))
		buf := make([]byte, 16<<10) // a record
		n, _ := s.Read(buf)
		first <- buf[:n]
		_, _ = s.Write(frame(21|theEnd, 1, "\xc8\x01\x01\x00\x00"))
		_, _ = io.Copy(io.Discard, s)
	})
	w.roundTrip(w.transport(), at, call("the body"))
	got := within(t, "the first call", first)
	if want := frame(22|theEnd, 1, "the body"); !bytes.HasSuffix(got, want) || got[3] != 2 {
		t.Errorf("the first record is %q", got)
	}

	s := w.serve(func(context.Context, *invoke.Call) (*invoke.Answer, error) { return answer(200, "the answer"), nil })
	p := w.dialRaw(t, s.at.Addrs[0].String())
	_, _ = p.Write(join(frame(2, 0, hello), frame(16|theEnd, 1, head("GET", "/"))))
	record := make([]byte, 16<<10)
	n, err := p.Read(record)
	if want := frame(22|theEnd, 1, "the answer"); err != nil || !bytes.HasSuffix(record[:n], want) || record[3] != 21 {
		t.Errorf("the answer's first record is %q, %v", record[:n], err)
	}
}

// Bytes that a handler holds stay what they are when its call is given up, and
// other calls come.
func TestBytesThatAreHeldStayWhenTheCallIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine := string(pattern(600, 7))
	held, check, checked := make(chan struct{}), make(chan struct{}), make(chan string, 1)
	s := w.serve(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Path != "/held" {
			return echo(ctx, c)
		}
		rest, _ := invoke.Whole(c.Body)
		close(held)
		<-ctx.Done()
		<-check
		checked <- string(rest)
		return nil, callctx.Cause(ctx)
	})
	tr := w.transport()
	ctx, cancel := context.WithCancel(t.Context())
	c := call(mine)
	c.Path = "/held"
	go func() {
		<-held
		cancel()
	}()
	if _, err := tr.Send(ctx, s.at, w.callee.ID(), c); !apperr.Is(err, apperr.Cancelled) {
		t.Errorf("Send = %v", err)
	}
	until(t, "no call is open", func() bool { return s.Inflight() == 0 })
	for range 50 { // would take a buffer that was given back
		w.roundTrip(tr, s.at, call(string(pattern(600, 9))))
	}
	close(check)
	if got := within(t, "the held bytes", checked); got != mine {
		t.Error("another call's bytes are in what a handler holds")
	}
}

// That the app has it costs an answer that comes soon no frame of its own, and
// the time before is told with it.
func TestAnAnswerTellsThatTheAppWasReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.serve(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		c.Reached()
		a := answer(404, "")
		a.Phrase = "Nobody Home"
		return a, nil
	})
	p := w.dialRaw(t, s.at.Addrs[0].String())
	_, _ = p.Write(join(frame(2, 0, hello), frame(16|theEnd, 1, head("GET", "/"))))
	kind, _, payload, err := p.next()
	if kind != 21|theEnd || err != nil || !bytes.HasSuffix([]byte(payload), []byte(str("Nobody Home"))) || payload[5] == 0 {
		t.Errorf("kind %d, %q, %v", kind, payload, err)
	}
	heard := 0
	c := get()
	c.Timing, c.Reached = &invoke.Timing{}, func() { heard++ }
	a := w.send(w.transport(), s.at, c)
	if heard != 1 || a.Phrase != "Nobody Home" || c.Timing.App <= 0 {
		t.Errorf("heard %d times, phrase %q, timing %+v", heard, a.Phrase, *c.Timing)
	}
	_ = a.Body.Close()
}

// Nobody is held up in a write: calls to a peer that reads nothing any more can
// be given up, whoever of them was about to write for all.
func TestACallToAPeerThatDoesNotReadCanBeGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.raw(t, func(c net.Conn) {
		s := tls.Server(c, tlsServer(w.callee))
		_, _ = s.Write(frame(1, 0, hello))
		<-t.Context().Done() // and never reads
	})
	tr := w.transport()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	const calls = 400 // 6 MiB: more than any socket keeps
	failed := make(chan error, calls)
	for range calls {
		go func() {
			_, err := tr.Send(ctx, at, w.callee.ID(), call(string(pattern(16<<10, 1))))
			failed <- err
		}()
	}
	for range calls {
		if err := within(t, "the calls", failed); !apperr.Is(err, apperr.DeadlineExceeded) {
			t.Fatalf("Send = %v", err)
		}
	}
}
