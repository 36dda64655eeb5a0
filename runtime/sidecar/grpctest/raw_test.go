package grpctest_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/pillion-dev/pillion/internal/within"
)

// A wire is an HTTP/2 connection frame by frame.
type wire struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	head   bytes.Buffer
	coder  *hpack.Encoder

	mu      sync.Mutex // guards what follows
	answers map[uint32]*reply
	pings   [][8]byte
	ended   error
}

// A reply is what came on a stream.
type reply struct {
	heads [][]hpack.HeaderField
	data  []byte
	ended bool
	torn  bool
}

func (r *reply) get(name string) string {
	for _, head := range r.heads {
		for _, f := range head {
			if f.Name == name {
				return f.Value
			}
		}
	}
	return ""
}

func newWire(t *testing.T, address string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, conn: conn, framer: http2.NewFramer(conn, conn), answers: map[uint32]*reply{}}
	w.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	w.coder = hpack.NewEncoder(&w.head)
	w.must(io.WriteString(conn, http2.ClientPreface))
	w.check(w.framer.WriteSettings())
	done := make(chan struct{})
	go func() { defer close(done); w.read() }()
	t.Cleanup(func() { _ = conn.Close(); within.Receive(t, done) })
	return w
}

func (w *wire) must(_ int, err error) { w.t.Helper(); w.check(err) }

func (w *wire) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) read() {
	for {
		frame, err := w.framer.ReadFrame()
		w.mu.Lock()
		if err != nil {
			w.ended = err
			w.mu.Unlock()
			return
		}
		w.take(frame)
		w.mu.Unlock()
	}
}

func (w *wire) take(frame http2.Frame) {
	id := frame.Header().StreamID
	if w.answers[id] == nil {
		w.answers[id] = new(reply)
	}
	r := w.answers[id]
	switch frame := frame.(type) {
	case *http2.MetaHeadersFrame:
		r.heads = append(r.heads, slices.Clone(frame.Fields))
		r.ended = r.ended || frame.StreamEnded()
	case *http2.DataFrame:
		r.data = append(r.data, frame.Data()...)
		r.ended = r.ended || frame.StreamEnded()
	case *http2.RSTStreamFrame:
		// Behind its end a reset with NO_ERROR says only that the rest of the
		// request is not wanted, and STREAM_CLOSED, which is net/http's word,
		// that it came all the same.
		late := frame.ErrCode == http2.ErrCodeNo || frame.ErrCode == http2.ErrCodeStreamClosed
		r.torn = !r.ended || !late
	case *http2.PingFrame:
		if frame.IsAck() {
			w.pings = append(w.pings, frame.Data)
		}
	case *http2.GoAwayFrame:
		w.ended = fmt.Errorf("GOAWAY, last stream %d, %v", frame.LastStreamID, frame.ErrCode)
	}
}

// request begins a stream; pairs are its fields.
func (w *wire) request(id uint32, end bool, pairs ...string) {
	w.t.Helper()
	w.head.Reset()
	for i := 0; i < len(pairs); i += 2 {
		w.check(w.coder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	w.check(w.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: w.head.Bytes(), EndHeaders: true, EndStream: end,
	}))
}

// begin is a gRPC call without its messages.
func (w *wire) begin(id uint32, app, method string, pairs ...string) {
	w.t.Helper()
	w.request(id, false, append([]string{
		":method", "POST", ":scheme", "http", ":path", method, ":authority", "localhost",
		"content-type", "application/grpc", "te", "trailers", "dapr-app-id", app,
	}, pairs...)...)
}

// call is a unary gRPC call with a text.
func (w *wire) call(id uint32, app, method, text string, pairs ...string) {
	w.t.Helper()
	w.begin(id, app, method, pairs...)
	w.check(w.framer.WriteData(id, true, message(w.t, text)))
}

// message is a text as it stands in a stream.
func message(t *testing.T, text string) []byte {
	t.Helper()
	data, err := proto.Marshal(wrapperspb.String(text))
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...)
}

// answer waits for the end of a stream.
func (w *wire) answer(id uint32) (r reply) {
	w.t.Helper()
	until(w.t, "the stream has ended", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if got := w.answers[id]; got != nil {
			r = *got
		}
		if w.ended != nil && !r.ended {
			w.t.Fatalf("the connection ended: %v", w.ended)
		}
		return r.ended || r.torn
	})
	return r
}

// On the wire an answer that is only trailers is one HEADERS frame with the
// end of the stream in it.
func TestTrailersOnlyOnTheWire(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(func(grpc.ServerStream) error { return status.Error(codes.Aborted, "no") })
		w := newWire(s.t, s.door)
		w.call(1, s.id, name, "")
		r := w.answer(1)
		if len(r.heads) != 1 || len(r.data) != 0 || r.get("grpc-status") != "10" || r.get(":status") != "200" || r.torn {
			s.t.Errorf("answer = %+v", r)
		}
		w.call(3, "nobody", name, "")
		r = w.answer(3)
		if len(r.heads) != 1 || len(r.data) != 0 || r.get("grpc-status") == "" || r.get(":status") != "200" || r.torn {
			s.t.Errorf("our own answer = %+v", r)
		}
	})
}

// An app may answer before the request's body has come. What follows of the
// body is for nobody, and does not harm what else the connection carries.
func TestAnswerBeforeTheBody(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(func(grpc.ServerStream) error { return status.Error(codes.Aborted, "no") })
		w := newWire(s.t, s.door)
		for id := range uint32(10) {
			id = 2*id + 1
			w.begin(id, s.id, name)
			w.answer(id)
			w.check(w.framer.WriteData(id, true, message(s.t, "late")))
		}
		w.call(21, s.id, s.method(echo), "text")
		if r := w.answer(21); r.get("grpc-status") != "0" || !bytes.Equal(r.data, message(s.t, "text")) {
			s.t.Errorf("the next answer = %+v", r)
		}
		for id := range uint32(10) {
			if r := w.answer(2*id + 1); len(r.heads) != 1 || r.get("grpc-status") != "10" || r.torn {
				s.t.Errorf("answer = %+v", r)
			}
		}
	})
}

// Trailers keep their order on the wire, also across names.
func TestTrailersKeepTheirOrder(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(echo)
		w := newWire(s.t, s.door)
		w.call(1, s.id, name, "text")
		r := w.answer(1)
		if !bytes.Equal(r.data, message(s.t, "text")) || len(r.heads) != 2 || r.heads[0][0].Name != ":status" {
			s.t.Errorf("answer = %+v", r)
		}
		if last := r.heads[1]; s.exact() && (len(last) < 2 || last[0].Name != "grpc-status" || last[1].Name != "grpc-message") {
			s.t.Errorf("trailers = %v, want them as grpc-go sends them", last)
		}
	})
}

// One connection carries gRPC to one app and plain requests to another at the
// same time, and requests to the sidecar itself.
func TestConnectionSharedWithPlainRequests(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(echo)
		w := newWire(s.t, s.door)
		const rounds = 20
		for i := range uint32(rounds) {
			id := 6*i + 1
			w.call(id, s.id, name, "grpc")
			w.request(id+2, false, ":method", "PUT", ":scheme", "http", ":path", "/v1.0/invoke/plain/method/a%2Fb?c", ":authority", "localhost")
			w.check(w.framer.WriteData(id+2, true, []byte("body")))
			w.request(id+4, true, ":method", "GET", ":scheme", "http", ":path", "/v1.0/healthz", ":authority", "localhost")
		}
		for i := range uint32(rounds) {
			id := 6*i + 1
			if r := w.answer(id); r.get("grpc-status") != "0" || !bytes.Equal(r.data, message(s.t, "grpc")) {
				s.t.Errorf("gRPC: %+v", r)
			}
			if r := w.answer(id + 2); r.get(":status") != "200" || string(r.data) != "PUT /a%2Fb?c body" {
				s.t.Errorf("plain: %+v", r)
			}
			if r := w.answer(id + 4); !strings.HasPrefix(r.get(":status"), "20") {
				s.t.Errorf("health: %+v", r)
			}
		}
	})
}

// Pings are answered while a stream is open, as many as a client likes, and
// without one.
func TestKeepalivePings(t *testing.T) {
	everywhere(t, func(s *scene) {
		w := newWire(s.t, s.door)
		begun, ended := make(chan struct{}, 1), make(chan struct{}, 1)
		ping := func(n byte) {
			w.check(w.framer.WritePing(false, [8]byte{1, 2, 3, 4, 5, 6, 7, n}))
		}
		ping(0)
		w.call(1, s.id, s.method(waits(begun, ended)), "")
		wait(s.t, "the app has the call", begun)
		const count = 50
		for n := range byte(count) {
			ping(n + 1)
		}
		until(s.t, "all pings are answered", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.ended != nil {
				s.t.Fatal(w.ended)
			}
			return len(w.pings) == count+1
		})
		for n, data := range w.pings {
			if data[7] != byte(n) {
				s.t.Fatalf("ping %d was answered with %v", n, data)
			}
		}
		w.check(w.framer.WriteRSTStream(1, http2.ErrCodeCancel))
		wait(s.t, "the app's call is cancelled", ended)
	})
}

// A stream that breaks the rules is reset; its connection and the others on it
// go on.
func TestBrokenStreamLeavesTheConnection(t *testing.T) {
	everywhere(t, func(s *scene) {
		name := s.method(echo)
		w := newWire(s.t, s.door)
		w.request(1, false, ":method", "POST", ":scheme", "http", ":path", name, ":authority", "localhost",
			"content-type", "application/grpc", "te", "trailers", "dapr-app-id", s.id, "content-length", "3")
		w.check(w.framer.WriteData(1, true, message(s.t, "more than three")))
		if r := w.answer(1); !r.torn && (r.get("grpc-status") == "0" || r.get("grpc-status") == "") {
			s.t.Errorf("a body longer than it says: %+v", r)
		}
		w.call(3, s.id, name, "still here")
		if r := w.answer(3); r.get("grpc-status") != "0" {
			s.t.Errorf("the next stream: %+v", r)
		}
	})
}

// A slow upload is not kept for company either: each piece goes on at once,
// also when a message comes in pieces.
func TestPiecesOfAMessageGoOn(t *testing.T) {
	everywhere(t, func(s *scene) {
		w := newWire(s.t, s.door)
		got := make(chan string, 1)
		w.request(1, false, ":method", "POST", ":scheme", "http", ":path", s.method(func(stream grpc.ServerStream) error {
			text, err := hear(stream)
			got <- text
			return err
		}), ":authority", "localhost", "content-type", "application/grpc", "te", "trailers", "dapr-app-id", s.id)
		for _, b := range message(s.t, "in pieces") {
			w.check(w.framer.WriteData(1, false, []byte{b}))
		}
		if text := wait(s.t, "the app has the message", got); text != "in pieces" {
			s.t.Errorf("%q", text)
		}
		if r := w.answer(1); r.get("grpc-status") != "0" {
			s.t.Errorf("answer = %+v", r)
		}
	})
}
