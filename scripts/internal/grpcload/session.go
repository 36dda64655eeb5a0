package grpcload

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Windows are so wide that the client never is what a stream waits for.
const (
	streamWindow = 64 << 20
	connWindow   = 1 << 30
	connCredit   = connWindow / 2 // given back at once
)

// patience bounds the dialling and the greeting of a server that may be busy.
const patience = time.Minute

// frameHead is the length of a frame's head.
const frameHead = 9

// maxFrame is the longest frame taken; it is what HTTP/2 allows unless told
// otherwise, and nobody is told.
const maxFrame = 16 << 10

// A call is one under way.
type call struct {
	id     uint32
	began  time.Time
	unsent int   // bytes of the message with its prefix
	window int64 // of the stream, as the server gives it

	http, status, said string // what the answer's fields say
	received           int    // bytes of the answer's message with its prefix
	last               bool   // the head being decoded is the stream's end
}

// A session is one HTTP/2 connection. It belongs to one goroutine.
type session struct {
	load Load
	conn net.Conn
	in   *bufio.Reader
	out  []byte // written before the next read that would wait

	fields  []byte // of each call, encoded
	body    []byte // of each call, with gRPC's prefix
	decoder *hpack.Decoder
	current *call // whose head is being decoded
	frame   []byte

	calls       []*call
	free        []*call
	next        uint32
	window      int64 // of the connection
	firstWindow int64 // of a new stream
	consumed    int   // bytes not yet given back
	leaving     bool  // the server takes no more
}

// dial opens a connection and waits for the server's settings.
func dial(ctx context.Context, l Load) (*session, error) {
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(ctx, "tcp", l.Address)
	if err != nil {
		return nil, err
	}
	s := &session{
		load: l, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), frame: make([]byte, maxFrame),
		next: 1, window: 65_535, firstWindow: 65_535,
		fields: encode(l), body: make([]byte, 5+l.Message),
	}
	binary.BigEndian.PutUint32(s.body[1:], uint32(l.Message)) //nolint:gosec // checked by whoever says the load
	s.decoder = hpack.NewDecoder(4096, s.field)
	s.out = append(s.out, http2.ClientPreface...)
	s.head(6, http2.FrameSettings, 0, 0)
	s.out = binary.BigEndian.AppendUint16(s.out, uint16(http2.SettingInitialWindowSize))
	s.out = binary.BigEndian.AppendUint32(s.out, streamWindow)
	s.credit(connWindow - 65_535)
	_ = conn.SetDeadline(time.Now().Add(patience)) // the read below says if it could not be set
	for greeted := false; !greeted; {
		kind, err := s.read(nil)
		if err != nil {
			_ = conn.Close() // already reporting the first error
			return nil, fmt.Errorf("no HTTP/2 settings: %w", err)
		}
		greeted = kind == http2.FrameSettings
	}
	return s, s.flush()
}

// encode is the head of each call. It leaves the server's table alone, so that
// the same bytes can be sent every time.
func encode(l Load) []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	e.SetMaxDynamicTableSize(0)
	_ = e.WriteField(hpack.HeaderField{Name: "x"}) // says the size, which once is enough
	block.Reset()
	fields := [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", l.Path},
		{":authority", l.Address},
		{"content-type", "application/grpc"},
		{"user-agent", "grpc-bench"},
		{"te", "trailers"},
	}
	for name, value := range l.Metadata {
		fields = append(fields, [2]string{name, value})
	}
	for _, f := range fields {
		_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // a buffer takes everything
	}
	return block.Bytes()
}

// run sends calls until deadline. It returns an error if the connection ended
// before; the calls it held are then in s.calls.
func (s *session) run(deadline time.Time, t *tally) error {
	if err := s.conn.SetDeadline(deadline); err != nil {
		return err
	}
	for range s.load.Streams {
		s.start()
	}
	for {
		if _, err := s.read(t); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			return err
		}
		if s.leaving && len(s.calls) == 0 {
			return errors.New("the server closes the connection")
		}
	}
}

// start begins a call.
func (s *session) start() {
	if s.leaving {
		return
	}
	var c *call
	if n := len(s.free); n > 0 {
		c, s.free = s.free[n-1], s.free[:n-1]
	} else {
		c = &call{}
	}
	*c = call{id: s.next, began: time.Now(), unsent: len(s.body), window: s.firstWindow}
	s.next += 2
	s.calls = append(s.calls, c)
	s.head(len(s.fields), http2.FrameHeaders, http2.FlagHeadersEndHeaders, c.id)
	s.out = append(s.out, s.fields...)
	s.send(c)
}

// send sends as much of the message as the windows let through.
func (s *session) send(c *call) {
	for c.unsent > 0 {
		n := int(min(int64(c.unsent), int64(maxFrame), c.window, s.window))
		if n <= 0 {
			return
		}
		from := len(s.body) - c.unsent
		c.unsent -= n
		c.window -= int64(n)
		s.window -= int64(n)
		var flags http2.Flags
		if c.unsent == 0 {
			flags = http2.FlagDataEndStream
		}
		s.head(n, http2.FrameData, flags, c.id)
		s.out = append(s.out, s.body[from:from+n]...)
	}
}

// head begins a frame.
func (s *session) head(length int, kind http2.FrameType, flags http2.Flags, stream uint32) {
	s.out = append(s.out, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags)) //nolint:gosec // 24 bits
	s.out = binary.BigEndian.AppendUint32(s.out, stream)
}

func (s *session) credit(n uint32) {
	s.head(4, http2.FrameWindowUpdate, 0, 0)
	s.out = binary.BigEndian.AppendUint32(s.out, n)
}

func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err
}

// read takes one frame. What is to be said is written before it waits.
func (s *session) read(t *tally) (http2.FrameType, error) {
	if s.in.Buffered() < frameHead {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	head, err := s.in.Peek(frameHead)
	if err != nil {
		return 0, err
	}
	length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	kind, flags := http2.FrameType(head[3]), http2.Flags(head[4])
	stream := binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1)
	if length > maxFrame {
		return 0, fmt.Errorf("a frame of %d bytes", length)
	}
	_, _ = s.in.Discard(frameHead) // it was there to be peeked at
	if s.in.Buffered() < length {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	payload := s.frame[:length]
	if _, err := io.ReadFull(s.in, payload); err != nil {
		return 0, err
	}
	return kind, s.take(frame{kind, flags, stream, payload}, t)
}

// find is the call of a stream; nil if it has ended.
func (s *session) find(stream uint32) *call {
	for _, c := range s.calls {
		if c.id == stream {
			return c
		}
	}
	return nil
}

// end takes note of how c ended, and begins the next one.
func (s *session) end(c *call, t *tally, failure string) {
	s.calls = slices.DeleteFunc(s.calls, func(other *call) bool { return other == c })
	s.free = append(s.free, c)
	if failure != "" {
		t.fail(1, failure)
	} else {
		t.latencies = append(t.latencies, time.Since(c.began))
	}
	s.start()
}
