package h2_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A raw is one side of a connection, frame by frame.
type raw struct {
	t   testing.TB
	nc  net.Conn
	fr  *http2.Framer
	enc *hpack.Encoder
	buf bytes.Buffer
	dec *hpack.Decoder
}

func newRaw(t testing.TB, nc net.Conn) *raw {
	r := &raw{t: t, nc: nc, fr: http2.NewFramer(nc, nc), dec: hpack.NewDecoder(4096, nil)}
	r.fr.AllowIllegalWrites = true
	r.enc = hpack.NewEncoder(&r.buf)
	_ = nc.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _ = nc.Close() })
	return r
}

// rawClient has greeted addr and read its greeting.
func rawClient(t testing.TB, addr string, settings ...http2.Setting) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r := newRaw(t, nc)
	r.do(func() error { _, err := io.WriteString(nc, http2.ClientPreface); return err })
	r.do(func() error { return r.fr.WriteSettings(settings...) })
	r.await("SETTINGS ack", func(f http2.Frame) bool {
		s, ok := f.(*http2.SettingsFrame)
		return ok && s.IsAck()
	})
	return r
}

// rawServer is a Client's peer, once it has sent something.
func rawServer(t testing.TB, ln net.Listener) *raw {
	t.Helper()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r := newRaw(t, nc)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(nc, preface); err != nil || string(preface) != http2.ClientPreface {
		t.Fatalf("preface %q, %v", preface, err)
	}
	return r
}

func (r *raw) do(f func() error) {
	r.t.Helper()
	if err := f(); err != nil {
		r.t.Fatal(err)
	}
}

// block encodes name, value, name, value.
func (r *raw) block(pairs ...string) []byte {
	r.buf.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = r.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return bytes.Clone(r.buf.Bytes())
}

func (r *raw) headers(id uint32, end bool, pairs ...string) {
	r.t.Helper()
	r.do(func() error {
		return r.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, BlockFragment: r.block(pairs...), EndStream: end, EndHeaders: true,
		})
	})
}

func (r *raw) data(id uint32, end bool, data string) {
	r.t.Helper()
	r.do(func() error { return r.fr.WriteData(id, end, []byte(data)) })
}

// get sends a GET that is all head.
func (r *raw) get(id uint32, path string) {
	r.t.Helper()
	r.headers(id, true, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", path)
}

// post begins a POST.
func (r *raw) post(id uint32, more ...string) {
	r.t.Helper()
	r.headers(id, false, append([]string{":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/"}, more...)...)
}

// next reads a frame; nil at the end of the connection.
func (r *raw) next() http2.Frame {
	r.t.Helper()
	f, err := r.fr.ReadFrame()
	if err != nil {
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			r.t.Fatal("nothing comes")
		}
		return nil
	}
	return f
}

// await reads until good says so.
func (r *raw) await(what string, good func(http2.Frame) bool) http2.Frame {
	r.t.Helper()
	var seen []string
	for {
		f := r.next()
		if f == nil {
			r.t.Fatalf("the connection ended before %s, behind %v", what, seen)
		}
		if good(f) {
			return f
		}
		seen = append(seen, fmt.Sprint(f.Header()))
	}
}

// stream reads the next frame of a stream; others but SETTINGS, PING and
// WINDOW_UPDATE are errors.
func (r *raw) stream(id uint32) http2.Frame {
	r.t.Helper()
	return r.await(fmt.Sprintf("a frame of stream %d", id), func(f http2.Frame) bool { return f.Header().StreamID == id })
}

// lines decodes a header block as "name: value" lines.
func (r *raw) lines(f http2.Frame) string {
	r.t.Helper()
	h, ok := f.(*http2.HeadersFrame)
	if !ok {
		r.t.Fatalf("%v is no HEADERS", f)
	}
	block := bytes.Clone(h.HeaderBlockFragment())
	for ended := h.HeadersEnded(); !ended; {
		c, ok := r.next().(*http2.ContinuationFrame)
		if !ok {
			r.t.Fatal("no CONTINUATION")
		}
		block, ended = append(block, c.HeaderBlockFragment()...), c.HeadersEnded()
	}
	fields, err := r.dec.DecodeFull(block)
	if err != nil {
		r.t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	return b.String()
}

// wantData reads DATA frames of a stream until n bytes have come.
func (r *raw) wantData(id uint32, n int) (data string, ended bool) {
	r.t.Helper()
	for len(data) < n || n == 0 {
		f, ok := r.stream(id).(*http2.DataFrame)
		if !ok {
			r.t.Fatalf("no DATA behind %d bytes", len(data))
		}
		data += string(f.Data())
		if ended = f.StreamEnded(); ended {
			break
		}
	}
	return data, ended
}

func (r *raw) wantReset(id uint32, code http2.ErrCode) {
	r.t.Helper()
	f, ok := r.stream(id).(*http2.RSTStreamFrame)
	if !ok || f.ErrCode != code {
		r.t.Errorf("stream %d: %v, want %v", id, f, code)
	}
}

// wantGoAway reads until the peer says why it ends the connection.
func (r *raw) wantGoAway(code http2.ErrCode) *http2.GoAwayFrame {
	r.t.Helper()
	f := r.await("GOAWAY", func(f http2.Frame) bool { _, ok := f.(*http2.GoAwayFrame); return ok }).(*http2.GoAwayFrame)
	if f.ErrCode != code {
		r.t.Errorf("GOAWAY %v %q, want %v", f.ErrCode, f.DebugData(), code)
	}
	return f
}

// wantEnd reads to the end of the connection.
func (r *raw) wantEnd() {
	r.t.Helper()
	for r.next() != nil {
	}
}

// ping makes sure that all that was sent has been handled.
func (r *raw) ping() {
	r.t.Helper()
	data := [8]byte{'t', 'e', 's', 't'}
	r.do(func() error { return r.fr.WritePing(false, data) })
	r.await("PONG", func(f http2.Frame) bool {
		p, ok := f.(*http2.PingFrame)
		return ok && p.IsAck() && p.Data == data
	})
}
