package h2_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func TestFieldsKeepTheirOrderBothWays(t *testing.T) {
	t.Parallel()
	got := make(chan invoke.Fields, 1)
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		got <- s.Fields()
		_ = s.Reply(201, lines("B", "1", "x-A", "2", "b", "3", "Connection", "x-gone", "X-Gone", "x"), []byte("ok"))
	})
	r := rawClient(t, st.addr)
	r.headers(1, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/x",
		"z", "1", "a", "2", "z", "3", "a", "", "te", "trailers")
	want := lines("z", "1", "a", "2", "z", "3", "a", "", "te", "trailers")
	if fields := within.Receive(t, got); !equal(fields, want) {
		t.Errorf("the handler has %v, want %v", fields, want)
	}
	if head, want := r.lines(r.stream(1)), ":status: 201\nb: 1\nx-a: 2\nb: 3\ncontent-length: 2\n"; head != want {
		t.Errorf("the client has\n%swant\n%s", head, want)
	}
	if data, ended := r.wantData(1, 2); data != "ok" || !ended {
		t.Errorf("%q, ended %v", data, ended)
	}
}

func equal(a, b invoke.Fields) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestTrailersAndHalfClose(t *testing.T) {
	t.Parallel()
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		_ = s.Begin(200, nil, -1, false)
		b, err := io.ReadAll(s.Body())
		_, _ = s.Write(b)
		if err != nil {
			t.Error(err)
		}
		_ = s.End(append(s.Body().Trailers(), invoke.Field{Name: "last", Value: "y"}))
	})
	r := rawClient(t, st.addr)
	r.post(1, "trailer", "t")
	r.lines(r.stream(1)) // the head comes before the request has ended
	r.data(1, false, "abc")
	r.headers(1, true, "t", "1", "t", "2")
	if data, ended := r.wantData(1, 3); data != "abc" || ended {
		t.Errorf("%q, ended %v", data, ended)
	}
	f := r.stream(1)
	if lines := r.lines(f); lines != "t: 1\nt: 2\nlast: y\n" || !f.(*http2.HeadersFrame).StreamEnded() {
		t.Errorf("trailers\n%s", lines)
	}
}

func TestAnAnswerThatEndsFirstTellsTheClientToStop(t *testing.T) {
	t.Parallel()
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) { _ = s.Reply(413, nil, nil) })
	r := rawClient(t, st.addr)
	r.post(1)
	f := r.stream(1)
	if lines := r.lines(f); !strings.HasPrefix(lines, ":status: 413\n") || !f.(*http2.HeadersFrame).StreamEnded() {
		t.Errorf("answer\n%s", lines)
	}
	r.wantReset(1, http2.ErrCodeNo)
}

func TestASmallAnswerIsOneFrameSequenceInOneWrite(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		<-release
		_ = s.Answer(&invoke.Answer{Status: 200, Length: -1, Body: complete{"data", lines("grpc-status", "0")}}, nil)
	})
	r := rawClient(t, st.addr)
	r.get(1, "/")
	r.ping()
	close(release)
	// One write on a loopback connection is one read.
	buf := make([]byte, 4096)
	n, err := r.nc.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	kinds := ""
	for b := buf[:n]; len(b) > 0; {
		size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		kinds += http2.FrameType(b[3]).String() + " "
		b = b[9+size:]
	}
	if kinds != "HEADERS DATA HEADERS " {
		t.Errorf("the first read has %s", kinds)
	}
}

// complete is a body that is there with its trailers.
type complete struct {
	data     string
	trailers invoke.Fields
}

func (c complete) Read([]byte) (int, error)                { return 0, errors.New("it is not read") }
func (c complete) Close() error                            { return nil }
func (c complete) Trailers() invoke.Fields                 { return c.trailers }
func (c complete) Complete() ([]byte, invoke.Fields, bool) { return []byte(c.data), c.trailers, true }

func reply(status int) func(*callctx.Context, *h2.Stream) {
	return func(_ *callctx.Context, s *h2.Stream) { _ = s.Reply(status, nil, nil) }
}

func TestTheClientsWindowsAreKept(t *testing.T) {
	t.Parallel()
	body := long(200 << 10)
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) { _ = s.Reply(200, nil, []byte(body)) })
	r := rawClient(t, st.addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	r.get(1, "/")
	r.lines(r.stream(1))
	got, _ := r.wantData(1, 10)
	r.ping() // nothing else comes meanwhile
	r.do(func() error { return r.fr.WriteWindowUpdate(1, 5) })
	more, _ := r.wantData(1, 5)
	got += more
	r.do(func() error {
		return r.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	})
	more, _ = r.wantData(1, 65535-15) // the connection's window is next
	got += more
	r.ping()
	r.do(func() error { return r.fr.WriteWindowUpdate(0, 1<<20) })
	more, ended := r.wantData(1, len(body)-len(got))
	if got += more; got != body || !ended {
		t.Errorf("%d bytes, ended %v", len(got), ended)
	}
}

func TestABodyNobodyReadsIsNotTaken(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	read := make(chan int, 1)
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		<-release
		n, err := io.Copy(io.Discard, s.Body())
		if err != nil {
			t.Error(err)
		}
		read <- int(n)
		_ = s.Reply(204, nil, nil)
	})
	r := rawClient(t, st.addr)
	r.post(1)
	const window = 256 << 10
	for range window / (16 << 10) {
		r.data(1, false, long(16<<10))
	}
	r.post(3)
	r.data(3, true, "x") // another stream is not stopped
	r.ping()
	close(release)
	r.await("room on stream 1", func(f http2.Frame) bool {
		w, ok := f.(*http2.WindowUpdateFrame)
		return ok && w.StreamID == 1
	})
	r.data(1, true, "y")
	if a, b := within.Receive(t, read), within.Receive(t, read); a+b != window+2 {
		t.Errorf("%d bytes were read", a+b)
	}
}

func TestMoreThanTheWindowIsRefused(t *testing.T) {
	t.Parallel()
	st := serve(t, func(ctx *callctx.Context, _ *h2.Stream) { <-ctx.Done() })
	r := rawClient(t, st.addr)
	r.post(1)
	for range 17 {
		r.data(1, false, long(16<<10))
	}
	r.wantReset(1, http2.ErrCodeFlowControl)
}

func TestTakingARequestBackEndsItsContextAtOnce(t *testing.T) {
	t.Parallel()
	began, ended := make(chan struct{}, 3), make(chan error, 3)
	st := serve(t, func(ctx *callctx.Context, s *h2.Stream) {
		began <- struct{}{}
		<-ctx.Done()
		_, err := s.Body().Read(make([]byte, 1))
		ended <- errors.Join(callctx.Cause(ctx), err)
	})
	r := rawClient(t, st.addr)
	r.post(1)
	within.Receive(t, began)
	r.do(func() error { return r.fr.WriteRSTStream(1, http2.ErrCodeCancel) })
	if err := within.Receive(t, ended); code(err) != http2.ErrCodeCancel {
		t.Errorf("reset: %v", err)
	}
	r.post(3)
	within.Receive(t, began)
	_ = r.nc.Close()
	if err := within.Receive(t, ended); err == nil {
		t.Error("the connection was lost without an error")
	}
}

func TestAHandlerMayResetAndMayForget(t *testing.T) {
	t.Parallel()
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		if s.Path() == "/reset" {
			_ = s.Begin(200, nil, -1, false)
			s.Reset(http2.ErrCodeInternal)
		}
	})
	r := rawClient(t, st.addr)
	r.get(1, "/reset")
	r.lines(r.stream(1))
	r.wantReset(1, http2.ErrCodeInternal)
	r.get(3, "/forget")
	r.wantReset(3, http2.ErrCodeInternal)
}

func TestAnAnswerThatBreaksOffIsResetOrExplained(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		body := invoke.NewBody(io.NopCloser(io.MultiReader(strings.NewReader("ab"), broken{boom})), nil)
		var cut func(error) invoke.Fields
		if s.Path() == "/explained" {
			cut = func(err error) invoke.Fields { return lines("Why", err.Error()) }
		}
		if err := s.Answer(&invoke.Answer{Status: 200, Length: -1, Body: body}, cut); !errors.Is(err, boom) {
			t.Errorf("Answer = %v", err)
		}
	})
	r := rawClient(t, st.addr)
	r.get(1, "/")
	r.lines(r.stream(1))
	r.wantData(1, 2)
	r.wantReset(1, http2.ErrCodeInternal)
	r.get(3, "/explained")
	r.lines(r.stream(3))
	r.wantData(3, 2)
	f := r.stream(3)
	if lines := r.lines(f); lines != "why: boom\n" || !f.(*http2.HeadersFrame).StreamEnded() {
		t.Errorf("trailers\n%s", lines)
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func TestInformationalAnswersAndTheWaitForABody(t *testing.T) {
	t.Parallel()
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		_ = s.Informational(103, lines("Link", "</a>"))
		b, err := io.ReadAll(s.Body())
		if err != nil {
			t.Error(err)
		}
		_ = s.Reply(200, nil, b)
		_ = s.Informational(103, nil) // too late
	})
	r := rawClient(t, st.addr)
	r.post(1, "expect", "100-continue")
	for _, want := range []string{":status: 103\nlink: </a>\n", ":status: 100\n"} {
		if lines := r.lines(r.stream(1)); lines != want {
			t.Errorf("%q, want %q", lines, want)
		}
	}
	r.data(1, true, "body")
	if lines := r.lines(r.stream(1)); lines != ":status: 200\ncontent-length: 4\n" {
		t.Errorf("%q", lines)
	}
	if data, ended := r.wantData(1, 4); data != "body" || !ended {
		t.Errorf("%q, ended %v", data, ended)
	}
}

func TestTheFirstByteLeavesWhenItArrives(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		_ = s.Begin(200, nil, -1, false)
		for range next {
			buf := make([]byte, 100)
			n, _ := s.Body().Read(buf)
			_, _ = s.Write(buf[:n])
		}
		_ = s.End(nil)
	})
	r := rawClient(t, st.addr)
	r.post(1)
	r.lines(r.stream(1))
	for _, piece := range []string{"a", "bc", "d"} {
		r.data(1, false, piece)
		next <- struct{}{}
		if got, _ := r.wantData(1, len(piece)); got != piece {
			t.Errorf("%q, want %q", got, piece)
		}
	}
	close(next)
}

// piped is a server's connection on a pipe, and its client's end, which has
// greeted: what a test needs that lives on synctest's clock.
func piped(t *testing.T, wrap func(net.Conn) net.Conn, handler func(*callctx.Context, *h2.Stream)) (*h2.ServerConn, *raw) {
	t.Helper()
	near, far := net.Pipe()
	sc := (&h2.Server{Handler: handler}).NewConn(wrap(far))
	served := make(chan struct{})
	go func() { defer close(served); sc.Serve() }()
	t.Cleanup(func() { _ = near.Close(); <-served })
	r := newRaw(t, near)
	greeted := make(chan error, 1)
	go func() { // while its own greeting is read
		_, err := io.WriteString(near, http2.ClientPreface)
		greeted <- errors.Join(err, r.fr.WriteSettings())
	}()
	r.await("SETTINGS ack", func(f http2.Frame) bool {
		s, ok := f.(*http2.SettingsFrame)
		return ok && s.IsAck()
	})
	r.do(func() error { return <-greeted })
	return sc, r
}

func TestShutdownLetsExchangesEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, shutdownLetsExchangesEnd) // on a clock that waits for the client
}

func shutdownLetsExchangesEnd(t *testing.T) {
	release := make(chan struct{})
	sc, r := piped(t, func(c net.Conn) net.Conn { return c }, func(_ *callctx.Context, s *h2.Stream) {
		<-release
		_ = s.Reply(200, nil, nil)
	})
	r.get(1, "/")
	r.ping()
	sc.Shutdown()
	if f := r.wantGoAway(http2.ErrCodeNo); f.LastStreamID != 1<<31-1 {
		t.Errorf("the first GOAWAY names stream %d", f.LastStreamID)
	}
	r.get(3, "/") // sent before it was known
	p := r.await("the ping", func(f http2.Frame) bool { _, ok := f.(*http2.PingFrame); return ok }).(*http2.PingFrame)
	r.do(func() error { return r.fr.WritePing(true, p.Data) })
	if f := r.wantGoAway(http2.ErrCodeNo); f.LastStreamID != 3 {
		t.Errorf("the second GOAWAY names stream %d, want 3", f.LastStreamID)
	}
	close(release)
	seen := 0
	for {
		f := r.next()
		if f == nil {
			break
		}
		if h, ok := f.(*http2.HeadersFrame); ok && h.StreamEnded() {
			seen++
		}
	}
	if seen != 2 {
		t.Errorf("%d answers, want 2", seen)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	gone := errors.New("gone")
	began, ended := make(chan struct{}), make(chan error, 1)
	st := serve(t, func(ctx *callctx.Context, _ *h2.Stream) {
		close(began)
		<-ctx.Done()
		ended <- callctx.Cause(ctx)
	})
	r := rawClient(t, st.addr)
	r.get(1, "/")
	within.Receive(t, began)
	st.each(func(sc *h2.ServerConn) { sc.Close(gone) })
	if err := within.Receive(t, ended); !errors.Is(err, gone) {
		t.Errorf("cause %v", err)
	}
	r.wantEnd()
}

func TestValuesReachTheHandler(t *testing.T) {
	t.Parallel()
	type key struct{}
	ln := listen(t)
	srv := &h2.Server{
		Values: context.WithValue(t.Context(), key{}, "value"),
		Handler: func(ctx *callctx.Context, s *h2.Stream) {
			v, _ := ctx.Value(key{}).(string)
			_ = s.Reply(200, lines("v", v, "remote", s.Remote()), nil)
		},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := ln.Accept()
		if err == nil {
			srv.NewConn(nc).Serve()
		}
	}()
	r := rawClient(t, ln.Addr().String())
	r.get(1, "/")
	if lines := r.lines(r.stream(1)); !strings.Contains(lines, "v: value\nremote: "+r.nc.LocalAddr().String()) {
		t.Errorf("%s", lines)
	}
	_ = r.nc.Close()
	within.Receive(t, done)
	_ = ln.Close()
}

// A lateConn has whoever writes come back late.
type lateConn struct {
	net.Conn
	late atomic.Bool
}

func (c *lateConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if c.late.Load() {
		time.Sleep(2 * time.Second) // of the test's clock
	}
	return n, err
}

// Why a connection ends is said, although the one who writes came to it only when
// the time was up.
func TestTheLastWordsAreSaidHoweverLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var conn *lateConn
		_, r := piped(t, func(c net.Conn) net.Conn {
			conn = &lateConn{Conn: c}
			return conn
		}, reply(200))
		conn.late.Store(true)
		r.ping()             // whoever has written the answer has not come back
		r.data(0, true, "x") // breaks the protocol
		r.wantGoAway(http2.ErrCodeProtocol)
		r.wantEnd()
	})
}
