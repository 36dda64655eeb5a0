package h2_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h2"
)

func TestMalformedRequestsAreReset(t *testing.T) {
	t.Parallel()
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		if s.Path() != "/good" {
			t.Errorf("a malformed request came through: %s %q %v", s.Method(), s.Path(), s.Fields())
		}
		_ = s.Reply(200, nil, nil)
	})
	line := func(pairs ...string) []string {
		return append([]string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}, pairs...)
	}
	for name, pairs := range map[string][]string{
		"no method":              {":scheme", "http", ":path", "/"},
		"no path":                {":method", "GET", ":scheme", "http"},
		"empty path":             {":method", "GET", ":scheme", "http", ":path", ""},
		"no scheme":              {":method", "GET", ":path", "/"},
		"a path without a slash": {":method", "GET", ":scheme", "http", ":path", "x"},
		"a blank in the path":    {":method", "GET", ":scheme", "http", ":path", "/a b"},
		"a line end in the path": {":method", "GET", ":scheme", "http", ":path", "/a\r\nb"},
		"an asterisk":            {":method", "GET", ":scheme", "http", ":path", "*"},
		"two methods":            {":method", "GET", ":method", "POST", ":scheme", "http", ":path", "/"},
		"a bad method":           {":method", "GE T", ":scheme", "http", ":path", "/"},
		"a status":               {":status", "200", ":method", "GET", ":scheme", "http", ":path", "/"},
		"an unknown pseudo":      {":method", "GET", ":scheme", "http", ":path", "/", ":what", "x"},
		"extended CONNECT":       {":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":path", "/", ":authority", "a"},
		"a CONNECT with a path":  {":method", "CONNECT", ":authority", "a", ":path", "/"},
		"a late pseudo":          {":method", "GET", ":scheme", "http", "x", "y", ":path", "/"},
		"an upper case name":     line("X-A", "b"),
		"an empty name":          line("", "b"),
		"a blank in a name":      line("x y", "b"),
		"a line end in a value":  line("x", "a\r\nb: c"),
		"a zero in a value":      line("x", "a\x00b"),
		"connection":             line("connection", "close"),
		"transfer-encoding":      line("transfer-encoding", "chunked"),
		"upgrade":                line("upgrade", "h2c"),
		"te":                     line("te", "gzip"),
		"a length of words":      line("content-length", "ten"),
		"a signed length":        line("content-length", "+1"),
		"two lengths":            line("content-length", "0", "content-length", "1"),
		"a body that is missing": line("content-length", "5"),
		"a host with blanks":     {":method", "GET", ":scheme", "http", ":path", "/", ":authority", "a b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rawClient(t, st.addr)
			r.headers(1, true, pairs...)
			r.wantReset(1, http2.ErrCodeProtocol)
			r.get(3, "/good") // the connection is good for others
			r.lines(r.stream(3))
		})
	}
}

func TestABodyMustBeAsLongAsItSays(t *testing.T) {
	t.Parallel()
	done := make(chan error, 4)
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) {
		_, err := io.Copy(io.Discard, s.Body())
		done <- err
	})
	for _, body := range []string{"abcd", "abcdef"} {
		r := rawClient(t, st.addr)
		r.post(1, "content-length", "5")
		r.ping() // the handler runs
		r.data(1, true, body)
		r.wantReset(1, http2.ErrCodeProtocol)
		if err := within.Receive(t, done); err == nil {
			t.Errorf("%d bytes for 5 are taken for a body", len(body))
		}
	}
}

func TestAHeadThatIsTooLong(t *testing.T) {
	t.Parallel()
	st := serve(t, reply(200))
	r := rawClient(t, st.addr)
	var pairs []string
	for range 80 {
		pairs = append(pairs, "x-long", strings.Repeat("~", 1000))
	}
	block := r.block(append([]string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}, pairs...)...)
	r.split(1, block, 10<<10)
	if lines := r.lines(r.stream(1)); !strings.HasPrefix(lines, ":status: 431\n") {
		t.Errorf("%s", lines)
	}
	// What is just short enough is taken, in pieces of any size.
	block = r.block(append([]string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}, pairs[:100]...)...)
	r.split(3, block, 1000)
	if lines := r.lines(r.stream(3)); !strings.HasPrefix(lines, ":status: 200\n") {
		t.Errorf("%s", lines)
	}
}

// split sends a header block in frames of size bytes.
func (r *raw) split(id uint32, block []byte, size int) {
	r.t.Helper()
	first := block[:min(size, len(block))]
	block = block[len(first):]
	r.do(func() error {
		return r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: true, EndHeaders: len(block) == 0})
	})
	for len(block) > 0 {
		piece := block[:min(size, len(block))]
		block = block[len(piece):]
		r.do(func() error { return r.fr.WriteContinuation(id, len(block) == 0, piece) })
	}
}

func TestTooManyStreamsAreRefused(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	st := serve(t, func(_ *callctx.Context, s *h2.Stream) { <-release; _ = s.Reply(200, nil, nil) })
	r := rawClient(t, st.addr)
	defer close(release)
	const most = 1000
	for i := range uint32(most) {
		r.get(2*i+1, "/")
	}
	r.get(2*most+1, "/")
	r.wantReset(2*most+1, http2.ErrCodeRefusedStream)
	// Those taken back count as long as their handlers run.
	r.do(func() error { return r.fr.WriteRSTStream(1, http2.ErrCodeCancel) })
	r.get(2*most+3, "/")
	r.wantReset(2*most+3, http2.ErrCodeRefusedStream)
}

func TestBrokenProtocolEndsTheConnectionWithAReason(t *testing.T) {
	t.Parallel()
	st := serve(t, reply(200))
	for name, c := range map[string]struct {
		code http2.ErrCode
		send func(r *raw)
	}{
		"DATA of a stream that has not begun": {http2.ErrCodeProtocol, func(r *raw) { r.data(1, true, "x") }},
		"DATA of stream 0":                    {http2.ErrCodeProtocol, func(r *raw) { r.data(0, true, "x") }},
		"RST_STREAM of an idle stream":        {http2.ErrCodeProtocol, func(r *raw) { r.do(func() error { return r.fr.WriteRSTStream(1, 0) }) }},
		"WINDOW_UPDATE of an idle stream":     {http2.ErrCodeProtocol, func(r *raw) { r.do(func() error { return r.fr.WriteWindowUpdate(1, 1) }) }},
		"an even stream":                      {http2.ErrCodeProtocol, func(r *raw) { r.get(2, "/") }},
		"CONTINUATION alone":                  {http2.ErrCodeProtocol, func(r *raw) { r.do(func() error { return r.fr.WriteContinuation(1, true, nil) }) }},
		"a head that is interrupted": {http2.ErrCodeProtocol, func(r *raw) {
			r.do(func() error {
				return r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
			})
			r.do(func() error { return r.fr.WritePing(false, [8]byte{}) })
		}},
		"no header compression": {http2.ErrCodeCompression, func(r *raw) {
			r.do(func() error {
				return r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff}, EndHeaders: true})
			})
		}},
		"a frame that is too large": {http2.ErrCodeFrameSize, func(r *raw) { r.data(1, true, long(20<<10)) }},
		"a window that is too large": {http2.ErrCodeFlowControl, func(r *raw) {
			r.do(func() error { return r.fr.WriteWindowUpdate(0, 1<<31-1) })
		}},
		"a window of nothing": {http2.ErrCodeProtocol, func(r *raw) { r.do(func() error { return r.fr.WriteWindowUpdate(0, 0) }) }},
		"PUSH_PROMISE": {http2.ErrCodeProtocol, func(r *raw) {
			r.do(func() error {
				return r.fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
			})
		}},
		"padding without room": {http2.ErrCodeProtocol, func(r *raw) {
			r.post(1)
			r.do(func() error { return r.fr.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{9, 1, 2}) })
		}},
		"a bad setting": {http2.ErrCodeProtocol, func(r *raw) {
			r.do(func() error { return r.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1}) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rawClient(t, st.addr)
			c.send(r)
			r.wantGoAway(c.code)
			r.wantEnd()
		})
	}
}

func TestFloodsAreCutOff(t *testing.T) {
	t.Parallel()
	st := serve(t, func(ctx *callctx.Context, s *h2.Stream) {
		if s.Path() == "/slow" {
			<-ctx.Done()
		}
		_ = s.Reply(200, nil, nil)
	})
	for name, send := range map[string]func(r *raw) error{
		"empty DATA": func(r *raw) error { return r.fr.WriteData(1, false, nil) },
		"PING":       func(r *raw) error { return r.fr.WritePing(false, [8]byte{}) },
		"SETTINGS":   func(r *raw) error { return r.fr.WriteSettings() },
		"PRIORITY":   func(r *raw) error { return r.fr.WritePriority(1, http2.PriorityParam{Weight: 1}) },
		"unknown":    func(r *raw) error { return r.fr.WriteRawFrame(0x77, 0, 0, nil) },
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); floodWith(t, st.addr, 10_100, send) })
	}
	t.Run("rapid reset", func(t *testing.T) {
		t.Parallel()
		id := uint32(1)
		floodWith(t, st.addr, 30_000, func(r *raw) error {
			id += 2
			if err := r.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID: id, EndStream: true, EndHeaders: true,
				BlockFragment: r.block(":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/slow"),
			}); err != nil {
				return err
			}
			return r.fr.WriteRSTStream(id, http2.ErrCodeCancel)
		})
	})
	t.Run("CONTINUATION", func(t *testing.T) {
		t.Parallel()
		r := rawClient(t, st.addr)
		r.do(func() error {
			return r.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		})
		for range 1000 {
			if r.fr.WriteContinuation(1, false, []byte{0x84}) != nil {
				break
			}
		}
		r.wantGoAway(http2.ErrCodeEnhanceYourCalm)
	})
}

// floodWith sends until the server has had enough, which so many are. What comes
// behind that is heard for a moment only: were it much more, a client that has
// no time to read would lose the server's last words.
func floodWith(t *testing.T, addr string, enough int, send func(r *raw) error) {
	t.Helper()
	r := rawClient(t, addr)
	r.post(1)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for range enough {
			if send(r) != nil {
				return
			}
		}
	}()
	r.wantGoAway(http2.ErrCodeEnhanceYourCalm)
	_ = r.nc.Close()
	within.Receive(t, written)
}

// A peer that asks and does not read must not make us keep the answers.
func TestAPeerThatDoesNotReadIsCutOff(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	ln := listen(t)
	srv := &h2.Server{Handler: reply(200)}
	go func() {
		defer close(ended)
		if nc, err := ln.Accept(); err == nil {
			srv.NewConn(nc).Serve()
		}
	}()
	r := rawClient(t, ln.Addr().String())
	defer func() { _ = ln.Close() }()
	// Each of many small requests that are malformed asks for an answer.
	for id, enough := uint32(1), false; !enough; {
		var many bytes.Buffer
		fr := http2.NewFramer(&many, nil)
		for range 5000 {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true, BlockFragment: []byte{0x82}})
			id += 2
		}
		_ = r.nc.SetWriteDeadline(time.Now().Add(patience))
		_, err := r.nc.Write(many.Bytes())
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Fatal("nobody cuts it off")
		}
		enough = err != nil
	}
	within.Receive(t, ended)
}

func TestWhatIsNoHTTP2IsClosed(t *testing.T) {
	t.Parallel()
	st := serve(t, reply(200))
	nc, err := net.Dial("tcp", st.addr)
	if err != nil {
		t.Fatal(err)
	}
	r := newRaw(t, nc)
	_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	r.wantEnd()
}
