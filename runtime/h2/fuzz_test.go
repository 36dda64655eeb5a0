package h2_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// written are frames as f writes them.
func written(f func(fr *http2.Framer)) []byte {
	var b bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	fr.AllowIllegalWrites = true
	_ = fr.WriteSettings()
	f(fr)
	return b.Bytes()
}

func seeds() [][]byte {
	request := []byte{0x83, 0x86, 0x84, 0x41, 1, 'a'} // POST http / a
	head := func(fr *http2.Framer, id uint32, end bool) {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: request, EndHeaders: true, EndStream: end})
	}
	return [][]byte{
		written(func(fr *http2.Framer) { head(fr, 1, true); head(fr, 3, true) }),
		written(func(fr *http2.Framer) { head(fr, 1, false); _ = fr.WriteData(1, true, []byte("body")) }),
		written(func(fr *http2.Framer) {
			head(fr, 1, false)
			_ = fr.WriteDataPadded(1, false, []byte("body"), make([]byte, 7))
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x40, 1, 't', 1, 'v'}, EndHeaders: true, EndStream: true})
		}),
		written(func(fr *http2.Framer) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: request[:3], EndStream: true})
			_ = fr.WriteContinuation(1, true, request[3:])
		}),
		written(func(fr *http2.Framer) {
			head(fr, 1, false)
			_ = fr.WriteRSTStream(1, http2.ErrCodeCancel)
			head(fr, 3, true)
		}),
		written(func(fr *http2.Framer) { _ = fr.WritePing(false, [8]byte{}); _ = fr.WriteGoAway(1, 0, nil) }),
		written(func(fr *http2.Framer) {
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
			head(fr, 1, true)
			_ = fr.WriteWindowUpdate(1, 3)
			_ = fr.WriteWindowUpdate(0, 1<<31-1)
		}),
		written(func(fr *http2.Framer) {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}, EndHeaders: true}) // an answer
			_ = fr.WriteData(1, true, []byte("ok"))
		}),
	}
}

// FuzzConnection gives a server and a client any bytes: neither panics, hangs
// or hands on anything malformed.
func FuzzConnection(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		fuzzServer(t, in)
		fuzzClient(t, in)
	})
}

func fuzzServer(t *testing.T, in []byte) {
	srv := &h2.Server{Handler: func(_ *callctx.Context, s *h2.Stream) {
		wellFormed(t, s)
		if s.Body() == nil {
			_ = s.Reply(200, nil, []byte("ok"))
			return
		}
		_ = s.Answer(&invoke.Answer{Status: 200, Length: -1, Body: s.Body()}, nil)
	}}
	near, far := net.Pipe()
	ended := make(chan struct{})
	go func() { defer close(ended); srv.NewConn(far).Serve() }()
	feed(near, append([]byte(http2.ClientPreface), in...))
	within.Receive(t, ended)
}

// wellFormed checks what the handler is given.
func wellFormed(t *testing.T, s *h2.Stream) {
	if s.Method() == "" || s.Method() != "CONNECT" && !strings.HasPrefix(s.Path(), "/") && s.Path() != "*" {
		t.Errorf("%q %q", s.Method(), s.Path())
	}
	if strings.ContainsAny(s.Path(), " \r\n\x00") {
		t.Errorf("path %q", s.Path())
	}
	for _, field := range s.Fields() {
		if field.Name == "" || strings.ToLower(field.Name) != field.Name || strings.ContainsAny(field.Name, ": \r\n\x00") ||
			strings.ContainsAny(field.Value, "\r\n\x00") {
			t.Errorf("field %q: %q", field.Name, field.Value)
		}
	}
}

func fuzzClient(t *testing.T, in []byte) {
	near, far := net.Pipe()
	cl := h2.NewClient(far)
	ended := make(chan struct{})
	go func() { defer close(ended); cl.Run() }()
	fed := make(chan struct{})
	go func() { defer close(fed); feed(near, in) }()
	if a, err := roundTrip(t.Context(), cl, post("body")); err == nil {
		_, _ = io.Copy(io.Discard, a.Body)
		_ = a.Body.Close()
		if a.Status < 200 || a.Status > 999 {
			t.Errorf("status %d", a.Status)
		}
	}
	within.Receive(t, fed)
	within.Receive(t, ended)
	if n := cl.Open(); n != 0 {
		t.Errorf("%d exchanges are left", n)
	}
}

// feed writes in, reads what comes, and closes.
func feed(nc net.Conn, in []byte) {
	drained := make(chan struct{})
	go func() { defer close(drained); _, _ = io.Copy(io.Discard, nc) }()
	_ = nc.SetWriteDeadline(time.Now().Add(patience))
	_, _ = nc.Write(in)
	_ = nc.Close()
	<-drained
}
