package difftest_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	defaultWindow = 65535
	// ourWindow is what we take at once, for a connection and for a stream.
	ourWindow = 1 << 20
	maxList   = 1 << 20
)

// A conn2 is one side of an HTTP/2 connection made of raw frames. It takes
// every byte that comes and gives the room back at once.
type conn2 struct {
	conn   net.Conn
	client bool
	// heard is called for each event of a stream, in order, by one goroutine.
	heard func(e event)

	mu     sync.Mutex // guards what follows, and the writing
	room   sync.Cond  // a window has grown, or the connection has ended
	fr     *http2.Framer
	enc    *hpack.Encoder
	block  bytes.Buffer
	window int64
	each   int64 // the initial window of a stream
	frame  int   // the largest frame the other side takes
	sizes  map[uint32]int64
	closed bool
}

// An event is what a stream, or with stream 0 the connection, got.
type event struct {
	stream uint32
	fields []hpack.HeaderField
	data   []byte
	end    bool
	reset  bool
	code   http2.ErrCode
	goaway bool
	gone   bool // the connection has ended
}

func newConn2(c net.Conn, client bool, heard func(event)) *conn2 {
	x := &conn2{
		conn: c, client: client, heard: heard, window: defaultWindow, each: defaultWindow, frame: 16 << 10,
		sizes: map[uint32]int64{},
	}
	x.room.L = &x.mu
	x.fr = http2.NewFramer(c, c)
	x.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	x.fr.MaxHeaderListSize = maxList
	x.fr.SetMaxReadFrameSize(1 << 20)
	x.enc = hpack.NewEncoder(&x.block)
	return x
}

// run reads until the connection ends. An app's side greets before; a client
// has done so.
func (x *conn2) run() {
	defer x.heard(event{gone: true})
	defer x.stop()
	if !x.client && x.greet() != nil {
		return
	}
	for {
		f, err := x.fr.ReadFrame()
		if wrong, ok := errors.AsType[http2.StreamError](err); ok {
			x.heard(event{stream: wrong.StreamID, reset: true, code: wrong.Code})
			continue
		}
		if err != nil || x.handle(f) != nil {
			return
		}
	}
}

func (x *conn2) greet() error {
	if x.client {
		if _, err := io.WriteString(x.conn, http2.ClientPreface); err != nil {
			return err
		}
	} else {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(x.conn, preface); err != nil || string(preface) != http2.ClientPreface {
			return fmt.Errorf("no preface: %w", err)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return errors.Join(x.fr.WriteSettings(
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: ourWindow},
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1000},
	), x.fr.WriteWindowUpdate(0, ourWindow-defaultWindow))
}

func (x *conn2) handle(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		x.mu.Lock()
		if _, known := x.sizes[f.StreamID]; !known {
			x.sizes[f.StreamID] = x.each
		}
		x.mu.Unlock()
		x.heard(event{stream: f.StreamID, fields: f.Fields, end: f.StreamEnded()})
	case *http2.DataFrame:
		x.heard(event{stream: f.StreamID, data: bytes.Clone(f.Data()), end: f.StreamEnded()})
		return x.giveBack(f.StreamID, f.Length, f.StreamEnded())
	case *http2.RSTStreamFrame:
		x.mu.Lock()
		x.sizes[f.StreamID] = -1 << 40 // nothing is sent on it any more
		x.room.Broadcast()
		x.mu.Unlock()
		x.heard(event{stream: f.StreamID, reset: true, code: f.ErrCode})
	case *http2.GoAwayFrame:
		x.heard(event{goaway: true, code: f.ErrCode})
	default:
		return x.control(f)
	}
	return nil
}

func (x *conn2) giveBack(stream, n uint32, end bool) error {
	if n == 0 {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if end {
		return x.fr.WriteWindowUpdate(0, n)
	}
	return errors.Join(x.fr.WriteWindowUpdate(0, n), x.fr.WriteWindowUpdate(stream, n))
}

// control handles the frames that are about the connection itself.
func (x *conn2) control(f http2.Frame) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.room.Broadcast()
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		_ = f.ForeachSetting(func(s http2.Setting) error { return x.set(s) }) // it reports nothing
		return x.fr.WriteSettingsAck()
	case *http2.PingFrame:
		if !f.IsAck() {
			return x.fr.WritePing(true, f.Data)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			x.window += int64(f.Increment)
		} else {
			x.sizes[f.StreamID] += int64(f.Increment)
		}
	}
	return nil
}

func (x *conn2) set(s http2.Setting) error {
	switch s.ID { //nolint:exhaustive // the others are no concern of ours
	case http2.SettingInitialWindowSize:
		for id := range x.sizes {
			x.sizes[id] += int64(s.Val) - x.each
		}
		x.each = int64(s.Val)
	case http2.SettingMaxFrameSize:
		x.frame = int(s.Val)
	case http2.SettingHeaderTableSize:
		x.enc.SetMaxDynamicTableSizeLimit(s.Val)
	}
	return nil
}

func (x *conn2) stop() {
	x.mu.Lock()
	x.closed = true
	x.room.Broadcast()
	x.mu.Unlock()
	_ = x.conn.Close() // it has ended
}

// open begins a stream of ours.
func (x *conn2) open(stream uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sizes[stream] = x.each
}

// headers sends a header block.
func (x *conn2) headers(stream uint32, fields []field, end bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.block.Reset()
	for _, f := range fields {
		if err := x.enc.WriteField(hpack.HeaderField{Name: f.name, Value: f.value}); err != nil {
			return err
		}
	}
	block := x.block.Bytes()
	first := true
	for first || len(block) > 0 {
		piece := block[:min(len(block), x.frame)]
		block = block[len(piece):]
		var err error
		if first {
			err = x.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID: stream, BlockFragment: piece, EndStream: end, EndHeaders: len(block) == 0,
			})
		} else {
			err = x.fr.WriteContinuation(stream, len(block) == 0, piece)
		}
		if err != nil {
			return err
		}
		first = false
	}
	return nil
}

// data sends p in frames, as the windows allow; a stream that is reset
// meanwhile takes no more.
func (x *conn2) data(stream uint32, p []byte, end bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for first := true; first || len(p) > 0; first = false {
		for len(p) > 0 && !x.closed && (x.window <= 0 || x.sizes[stream] <= 0) && x.sizes[stream] > -1<<39 {
			x.room.Wait()
		}
		if x.closed || x.sizes[stream] <= -1<<39 {
			return nil
		}
		n := min(int64(len(p)), int64(x.frame))
		if n > 0 {
			n = min(n, x.window, x.sizes[stream])
		}
		piece := p[:n]
		p = p[n:]
		x.window -= n
		x.sizes[stream] -= n
		if err := x.fr.WriteData(stream, end && len(p) == 0, piece); err != nil {
			return err
		}
	}
	return nil
}

func (x *conn2) reset(stream uint32, code http2.ErrCode) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.fr.WriteRSTStream(stream, code)
}

func (x *conn2) goAway(last uint32, code http2.ErrCode) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.fr.WriteGoAway(last, code, nil)
}

func (x *conn2) ping() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.fr.WritePing(false, [8]byte{1})
}

// A stream is where the messages of one exchange are.
type stream struct {
	conn *conn2
	id   uint32
	m    *message // what is received on it
	r    *run
}

// take adds an event to the message that is received. The run's lock is held.
func (s *stream) take(e event, request bool) {
	m := s.m
	switch {
	case e.gone || e.reset:
		m.gone = true
		if m.end == "" && e.reset {
			m.end = "reset " + e.code.String()
		} else if m.end == "" {
			m.end = cutOff
		}
		return
	case e.fields != nil && m.hasHead:
		m.trailers = append(m.trailers, plain(e.fields)...)
	case e.fields != nil:
		s.head(e, request)
	default:
		m.body = append(m.body, e.data...)
	}
	if e.end && m.end == "" {
		m.end = ended
	}
}

func (s *stream) head(e event, request bool) {
	m := s.m
	fields := plain(e.fields)
	pseudo := map[string]string{}
	for _, f := range fields {
		if strings.HasPrefix(f.name, ":") {
			pseudo[f.name] += f.value
		}
	}
	status := pseudo[":status"]
	if !request && len(status) == 3 && status[0] == '1' {
		m.interim = append(m.interim, &message{start: status, fields: fields})
		return
	}
	m.start, m.fields, m.hasHead = status, fields, true
	if request {
		m.start = pseudo[":method"] + " " + pseudo[":path"]
	}
	m.framing = "stream"
	if length := m.get("content-length"); length != "" {
		m.framing = "length " + length
	} else if e.end {
		m.framing = "stream, nothing"
	}
}

func plain(fields []hpack.HeaderField) []field {
	out := make([]field, len(fields))
	for i, f := range fields {
		out[i] = field{f.Name, f.Value}
	}
	return out
}

// A wire2 keeps back the head of a message on a stream.
type wire2 struct {
	fields []field
	target *stream
}

func (w *wire2) field(line string) error {
	name, value, _ := strings.Cut(line, ":")
	w.fields = append(w.fields, field{strings.ToLower(name), strings.Trim(value, " \t")})
	return nil
}

// flush sends the head.
func (w *wire2) flush(length int) error {
	if length >= 0 {
		w.fields = append(w.fields, field{"content-length", strconv.Itoa(length)})
	}
	status := w.fields[0].value
	interim := w.fields[0].name == ":status" && status[0] == '1'
	err := w.target.conn.headers(w.target.id, w.fields, length == noBody && !interim)
	w.fields = nil
	return ignore(err)
}

// ignore is for writes: that the other side has gone is seen by the reader.
func ignore(error) error { return nil }

func (w *wire2) data(p []byte, last bool) error {
	return ignore(w.target.conn.data(w.target.id, p, last))
}

func (w *wire2) finish(trailers []field) error {
	if len(trailers) == 0 {
		return ignore(w.target.conn.data(w.target.id, nil, true))
	}
	lower := make([]field, len(trailers))
	for i, t := range trailers {
		lower[i] = field{strings.ToLower(t.name), t.value}
	}
	return ignore(w.target.conn.headers(w.target.id, lower, true))
}

// frameOf is a gRPC message in its frame.
func frameOf(text string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text)))
	return append(b, text...)
}

// codeOf is the reset code called name.
func codeOf(name string) (http2.ErrCode, error) {
	if name == "" {
		return http2.ErrCodeCancel, nil
	}
	for code := range http2.ErrCode(14) {
		if code.String() == name {
			return code, nil
		}
	}
	return 0, fmt.Errorf("no reset code %q", name)
}

// other are the steps of both sides of HTTP/2.
func (w *wire2) other(s step) error {
	x := w.target.conn
	switch s.op {
	case "message":
		return ignore(x.data(w.target.id, frameOf(s.arg), false))
	case "reset":
		code, err := codeOf(s.arg)
		if err != nil {
			return err
		}
		return ignore(x.reset(w.target.id, code))
	case "close":
		x.stop()
		return nil
	case "goaway":
		code, err := codeOf(s.arg)
		if err != nil {
			return err
		}
		return ignore(x.goAway(1<<31-1, code))
	case "ping":
		return ignore(x.ping())
	}
	return fmt.Errorf("HTTP/2 cannot do that")
}
