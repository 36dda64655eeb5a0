package h2_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An outcome is what RoundTrip returned.
type outcome struct {
	a   *invoke.Answer
	err error
}

// ask begins an exchange.
func ask(ctx context.Context, cl *h2.Client, c *invoke.Call) <-chan outcome {
	out := make(chan outcome, 1)
	go func() {
		a, err := roundTrip(ctx, cl, c)
		out <- outcome{a, err}
	}()
	return out
}

// pair is a client and its peer, once the client has sent its first request.
func pair(t *testing.T, c *invoke.Call) (*h2.Client, *raw, <-chan outcome) {
	t.Helper()
	ln := listen(t)
	defer func() { _ = ln.Close() }()
	cl := dial(t, ln.Addr().String())
	out := ask(t.Context(), cl, c)
	return cl, rawServer(t, ln), out
}

func get(path string) *invoke.Call { return &invoke.Call{Verb: "GET", Path: path, Major: 2} }

func TestARequestIsSentAsItIs(t *testing.T) {
	t.Parallel()
	c := post("body")
	c.Path = "/a%2f//b/../%00?x=%20&y"
	c.Fields = lines("Z", "1", "x-a", "2", "z", "3", "Connection", "x-gone", "X-Gone", "x", "Content-Type", "application/grpc", "Host", "x")
	_, r, out := pair(t, c)
	r.fr.ReadMetaHeaders = nil
	want := ":method: POST\n:scheme: http\n:authority: app\n:path: /a%2f//b/../%00?x=%20&y\n" +
		"z: 1\nx-a: 2\nz: 3\ncontent-type: application/grpc\nte: trailers\ncontent-length: 4\n"
	if head := r.lines(r.stream(1)); head != want {
		t.Errorf("head\n%swant\n%s", head, want)
	}
	if data, ended := r.wantData(1, 4); data != "body" || !ended {
		t.Errorf("%q, ended %v", data, ended)
	}
	r.do(func() error { return r.fr.WriteSettings() })
	r.headers(1, false, ":status", "200", "b", "1", "a", "2", "b", "3", "content-length", "2")
	r.data(1, true, "ok")
	o := within.Receive(t, out)
	if o.err != nil {
		t.Fatal(o.err)
	}
	if !equal(o.a.Fields, lines("b", "1", "a", "2", "b", "3")) || o.a.Status != 200 || o.a.Length != 2 || o.a.Major != 2 {
		t.Errorf("%+v", o.a)
	}
	if got := text(t, o.a); got != "ok" {
		t.Errorf("%q", got)
	}
}

func TestTheProofOfHowFarItCame(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		act  func(r *raw)
		want invoke.Evidence
	}{
		"refused":          {func(r *raw) { r.do(func() error { return r.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream) }) }, invoke.Evidence{Refused: true}},
		"above the GOAWAY": {func(r *raw) { r.do(func() error { return r.fr.WriteGoAway(0, http2.ErrCodeNo, nil) }) }, invoke.Evidence{AboveLeaving: true}},
		"below the GOAWAY": {func(r *raw) {
			r.do(func() error { return r.fr.WriteGoAway(1, http2.ErrCodeNo, nil) })
			_ = r.nc.Close()
		}, invoke.Evidence{}},
		"reset":             {func(r *raw) { r.do(func() error { return r.fr.WriteRSTStream(1, http2.ErrCodeInternal) }) }, invoke.Evidence{}},
		"closed":            {func(r *raw) { _ = r.nc.Close() }, invoke.Evidence{}},
		"a broken protocol": {func(r *raw) { r.data(1, false, "x"); r.data(7, true, "x") }, invoke.Evidence{}},
		"no status":         {func(r *raw) { r.headers(1, true, "x", "y") }, invoke.Evidence{}},
		"switched":          {func(r *raw) { r.headers(1, false, ":status", "101") }, invoke.Evidence{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := &counted{Body: invoke.BytesBody([]byte("x"))}
			call := post("x")
			call.Body = body
			_, r, out := pair(t, call)
			r.do(func() error { return r.fr.WriteSettings() })
			r.stream(1)
			c.act(r)
			o := within.Receive(t, out)
			if o.err == nil {
				t.Fatal("an answer")
			}
			if e := h2.Evidence(o.err); e != c.want {
				t.Errorf("%v: %+v, want %+v", o.err, e, c.want)
			}
			if body.closed.Load() == 0 {
				t.Error("the call's body is open")
			}
		})
	}
}

// counted counts how often a body is closed.
type counted struct {
	invoke.Body
	closed atomic.Int32
}

func (c *counted) Close() error { c.closed.Add(1); return c.Body.Close() }

func TestWhatWasNotWrittenIsProven(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	cl := dial(t, ln.Addr().String())
	cl.Close()
	_, err := roundTrip(t.Context(), cl, get("/"))
	if !h2.Evidence(err).NotWritten {
		t.Errorf("closed: %v", err)
	}
	cl = dial(t, ln.Addr().String())
	for what, c := range map[string]*invoke.Call{
		"a bad path":  get("/a b"),
		"a bad verb":  {Verb: "A B", Path: "/"},
		"a bad field": {Verb: "GET", Path: "/", Fields: lines("a", "b\r\nc")},
		"CONNECT":     {Verb: "CONNECT", Path: "/"},
	} {
		if _, err := roundTrip(t.Context(), cl, c); !h2.Evidence(err).NotWritten {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := cl.Open(); n != 0 {
		t.Errorf("%d places are taken", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := cl.Reserve(ctx); err != nil && !h2.Evidence(err).NotWritten {
		t.Errorf("Reserve: %v", err)
	}
	_ = ln.Close()
}

func TestACancelledRequestIsResetAtOnce(t *testing.T) {
	t.Parallel()
	for _, ours := range []bool{true, false} {
		ln := listen(t)
		cl := dial(t, ln.Addr().String())
		cause := errors.New("the caller left")
		var ctx context.Context
		var cancel func()
		if ours {
			c := callctx.New(t.Context(), timeless)
			ctx, cancel = c, func() { c.Cancel(cause) }
		} else {
			c, stop := context.WithCancelCause(t.Context())
			ctx, cancel = c, func() { stop(cause) }
		}
		out := ask(ctx, cl, get("/"))
		r := rawServer(t, ln)
		r.do(func() error { return r.fr.WriteSettings() })
		r.stream(1)
		cancel()
		r.wantReset(1, http2.ErrCodeCancel)
		o := within.Receive(t, out)
		if !errors.Is(o.err, cause) || h2.Evidence(o.err) != (invoke.Evidence{}) {
			t.Errorf("%v, %+v", o.err, h2.Evidence(o.err))
		}
		_ = ln.Close()
	}
}

func TestCancellingWhileTheAnswerStreams(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	cl := dial(t, ln.Addr().String())
	ctx := callctx.New(t.Context(), timeless)
	out := ask(ctx, cl, get("/"))
	r := rawServer(t, ln)
	r.do(func() error { return r.fr.WriteSettings() })
	r.stream(1)
	r.headers(1, false, ":status", "200")
	r.data(1, false, "x")
	o := within.Receive(t, out)
	if o.err != nil {
		t.Fatal(o.err)
	}
	cause := errors.New("enough")
	ctx.Cancel(cause)
	r.wantReset(1, http2.ErrCodeCancel)
	if _, err := io.ReadAll(o.a.Body); !errors.Is(err, cause) {
		t.Errorf("read: %v", err)
	}
	_ = o.a.Body.Close()
	_ = ln.Close()
}

func TestClosingAnAnswerTellsTheServer(t *testing.T) {
	t.Parallel()
	_, r, out := pair(t, get("/"))
	r.do(func() error { return r.fr.WriteSettings() })
	r.stream(1)
	r.headers(1, false, ":status", "200")
	o := within.Receive(t, out)
	_ = o.a.Body.Close()
	_ = o.a.Body.Close()
	r.wantReset(1, http2.ErrCodeCancel)
}

func TestInformationalAnswersComeInOrder(t *testing.T) {
	t.Parallel()
	c := get("/")
	var got []int
	c.Informational = func(status int, fields invoke.Fields) error {
		got = append(got, status)
		if status == 103 && fields.Get("link") == "" {
			t.Errorf("103 with %v", fields)
		}
		return nil
	}
	_, r, out := pair(t, c)
	r.do(func() error { return r.fr.WriteSettings() })
	r.stream(1)
	r.headers(1, false, ":status", "102")
	r.headers(1, false, ":status", "103", "link", "</a>")
	r.headers(1, true, ":status", "204")
	if o := within.Receive(t, out); o.err != nil || o.a.Status != 204 {
		t.Errorf("%+v, %v", o.a, o.err)
	}
	if len(got) != 2 || got[0] != 102 || got[1] != 103 {
		t.Errorf("%v", got)
	}
}

func TestTheBodyWaitsForContinue(t *testing.T) {
	t.Parallel()
	c := post("body")
	c.Expect = true
	_, r, out := pair(t, c)
	r.do(func() error { return r.fr.WriteSettings() })
	if head := r.lines(r.stream(1)); !strings.Contains(head, "expect: 100-continue\n") {
		t.Errorf("%s", head)
	}
	r.headers(1, false, ":status", "100")
	if data, ended := r.wantData(1, 4); data != "body" || !ended {
		t.Errorf("%q, %v", data, ended)
	}
	r.headers(1, true, ":status", "200")
	if o := within.Receive(t, out); o.err != nil {
		t.Error(o.err)
	}
}

func TestAnAnswerMayComeBeforeTheRequestHasEnded(t *testing.T) {
	t.Parallel()
	pr, pw := io.Pipe()
	c := post("")
	c.Body, c.Length = invoke.NewBody(pr, func() invoke.Fields { return lines("T", "1") }), -1
	cl, r, out := pair(t, c)
	r.do(func() error { return r.fr.WriteSettings() })
	r.stream(1)
	r.headers(1, false, ":status", "200")
	o := within.Receive(t, out)
	if o.err != nil {
		t.Fatal(o.err)
	}
	r.data(1, false, "answer")
	buf := make([]byte, 10)
	if n, err := o.a.Body.Read(buf); string(buf[:n]) != "answer" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	_, _ = io.WriteString(pw, "late")
	if data, ended := r.wantData(1, 4); data != "late" || ended {
		t.Errorf("%q, %v", data, ended)
	}
	_ = pw.Close()
	if trailers := r.lines(r.stream(1)); trailers != "t: 1\n" {
		t.Errorf("%s", trailers)
	}
	r.headers(1, true, "end", "1")
	if rest, err := io.ReadAll(o.a.Body); len(rest) != 0 || err != nil || !equal(o.a.Body.Trailers(), lines("end", "1")) {
		t.Errorf("%q, %v, %v", rest, err, o.a.Body.Trailers())
	}
	_ = o.a.Body.Close()
	if cl.Open() != 0 {
		t.Error("the exchange is still open")
	}
}

func TestAServerThatHasHeardEnoughStopsTheUpload(t *testing.T) {
	t.Parallel()
	body := &counted{Body: invoke.NewBody(io.NopCloser(endless{}), nil)}
	c := post("")
	c.Body, c.Length = body, -1
	cl, r, out := pair(t, c)
	r.do(func() error { return r.fr.WriteSettings() })
	r.stream(1)
	r.headers(1, true, ":status", "413")
	r.do(func() error { return r.fr.WriteRSTStream(1, http2.ErrCodeNo) })
	o := within.Receive(t, out)
	if o.err != nil || o.a.Status != 413 {
		t.Fatalf("%+v, %v", o.a, o.err)
	}
	if got := text(t, o.a); got != "" {
		t.Errorf("%q", got)
	}
	if cl.Open() != 0 || body.closed.Load() == 0 {
		t.Errorf("%d open, closed %d times", cl.Open(), body.closed.Load())
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestABodyThatFailsGivesTheRequestUp(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	c := post("")
	c.Body, c.Length = invoke.NewBody(io.NopCloser(broken{boom}), nil), -1
	_, r, out := pair(t, c)
	r.do(func() error { return r.fr.WriteSettings() })
	r.stream(1)
	r.wantReset(1, http2.ErrCodeCancel)
	o := within.Receive(t, out)
	if be, ok := errors.AsType[*h2.BodyError](o.err); !ok || !errors.Is(be, boom) {
		t.Errorf("%v", o.err)
	}
}

func TestTheServersLimitOfStreamsIsKept(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	cl := dial(t, ln.Addr().String())
	first := ask(t.Context(), cl, get("/1"))
	r := rawServer(t, ln)
	r.lines(r.stream(1))
	r.do(func() error { return r.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}) })
	r.await("SETTINGS ack", func(f http2.Frame) bool { s, ok := f.(*http2.SettingsFrame); return ok && s.IsAck() })
	if cl.TryReserve() {
		t.Error("there is room for two")
	}
	second := ask(t.Context(), cl, get("/2"))
	third, giveUp := context.WithCancel(t.Context())
	given := ask(third, cl, get("/3"))
	giveUp()
	if o := within.Receive(t, given); !errors.Is(o.err, context.Canceled) || !h2.Evidence(o.err).NotWritten {
		t.Errorf("given up: %v", o.err)
	}
	r.headers(1, true, ":status", "200")
	if o := within.Receive(t, first); o.err != nil {
		t.Error(o.err)
	}
	if head := r.lines(r.await("stream 3", func(f http2.Frame) bool { return f.Header().StreamID == 3 })); !strings.Contains(head, ":path: ") {
		t.Errorf("%s", head)
	}
	r.headers(3, true, ":status", "200")
	if o := within.Receive(t, second); o.err != nil {
		t.Error(o.err)
	}
	_ = ln.Close()
}

func TestAClientThatRetiresEndsWithItsLastExchange(t *testing.T) {
	t.Parallel()
	cl, r, out := pair(t, get("/"))
	r.do(func() error { return r.fr.WriteSettings() })
	r.stream(1)
	cl.Retire()
	if cl.Usable() || cl.TryReserve() {
		t.Error("it takes another")
	}
	r.headers(1, true, ":status", "200")
	if o := within.Receive(t, out); o.err != nil {
		t.Error(o.err)
	}
	r.wantEnd()
}

func TestTheAnswerMayBeHadWhole(t *testing.T) {
	t.Parallel()
	// Head, body and trailers in one write are there together.
	server, conn := net.Pipe()
	cl := client(t, conn)
	r := newRaw(t, server)
	out := ask(t.Context(), cl, get("/"))
	preface := make([]byte, len(http2.ClientPreface))
	_, _ = io.ReadFull(server, preface)
	r.stream(1)
	go func() {
		for r.next() != nil {
		}
	}()
	var all strings.Builder
	w := http2.NewFramer(&all, nil)
	_ = w.WriteSettings()
	_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(":status", "200"), EndHeaders: true})
	_ = w.WriteData(1, false, []byte("message"))
	_ = w.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block("grpc-status", "0"), EndHeaders: true, EndStream: true})
	_, _ = io.WriteString(server, all.String())
	o := within.Receive(t, out)
	if o.err != nil {
		t.Fatal(o.err)
	}
	rest, trailers, ok := invoke.Complete(o.a.Body)
	if string(rest) != "message" || !equal(trailers, lines("grpc-status", "0")) || !ok {
		t.Errorf("%q, %v, %v", rest, trailers, ok)
	}
	if _, ok := invoke.Whole(o.a.Body); ok {
		t.Error("the trailers would be lost")
	}
	_ = o.a.Body.Close()
}
