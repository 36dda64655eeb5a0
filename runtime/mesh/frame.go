package mesh

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A kind says what a frame is. It is no type of its own, because no switch has
// to know all kinds: those of later revisions are skipped.
type kind = uint8

// The kinds. Numbers are the protocol; a new kind takes a new number, and a
// peer that does not know it skips it.
const (
	kindGreeting kind = 1 // server, first of all: greeting
	kindHello    kind = 2 // client, before its first call: greeting
	kindPing     kind = 3
	kindPong     kind = 4
	kindWindow   kind = 5 // uvarint: bytes consumed; of call 0: of calls that have ended
	kindLeaving  kind = 6 // server; uvarint: the last call taken
	kindState    kind = 7 // server; the state's word
	kindAbort    kind = 8 // why the link is cut off

	kindCall     kind = 16 // client: callHead
	kindContinue kind = 17 // server: send the body that waits for it
	kindReached  kind = 18 // server; uvarint: microseconds the call was held
	kindRefused  kind = 19 // server; error: not handed to the app
	kindInfo     kind = 20 // server: answerHead of a 1xx
	kindHead     kind = 21 // server: answerHead
	kindData     kind = 22
	kindTrailers kind = 23 // fields; ends its direction
	kindStop     kind = 24 // server: no more of the body is wanted
	kindReset    kind = 25 // error: the call is over, how far it came is not known
)

// flagEnd on a call's frame ends its sender's direction.
const flagEnd kind = 0x80

const headerSize = 8

// A header is the first eight bytes of a frame.
type header struct {
	kind kind
	end  bool
	call uint32
	size int
}

func appendHeader(b []byte, k kind, call uint32, size int) []byte {
	b = append(b, 0, 0, 0, k, 0, 0, 0, 0)
	binary.BigEndian.PutUint32(b[len(b)-4:], call)
	putSize(b[len(b)-headerSize:], size)
	return b
}

func putSize(b []byte, size int) {
	b[0], b[1], b[2] = byte(size>>16), byte(size>>8), byte(size) //nolint:gosec // three bytes hold any size a kind may have
}

func appendFrame(b []byte, k kind, call uint32, payload []byte) []byte {
	return append(appendHeader(b, k, call, len(payload)), payload...)
}

// maxSize is the largest payload of a kind.
func maxSize(k kind) int {
	switch k {
	case kindPing, kindPong, kindWindow, kindLeaving, kindContinue, kindReached, kindStop:
		return 64
	case kindState, kindAbort:
		return 1 << 10
	case kindGreeting, kindHello:
		return 4 << 10
	case kindData:
		return maxData
	default:
		return maxHead
	}
}

func parseHeader(b []byte) (header, error) {
	h := header{
		kind: b[3] &^ flagEnd,
		end:  b[3]&flagEnd != 0,
		call: binary.BigEndian.Uint32(b[4:]),
		size: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
	}
	if h.size > maxSize(h.kind) {
		return h, fmt.Errorf("a frame of kind %d with %d bytes", h.kind, h.size)
	}
	return h, nil
}

// frameRoom holds the largest frame there may be.
const frameRoom = maxHead + headerSize

var frameBuffers = sync.Pool{New: func() any { return new([frameRoom]byte) }}

// A frameReader finds frames in what src gives. The payload it returns is good
// until the next read.
type frameReader struct {
	src  io.Reader
	buf  []byte // nil if nothing is there
	r, w int
	full bool // there was more than room at the last read
}

func newFrameReader(src io.Reader) *frameReader { return &frameReader{src: src} }

// next returns the next frame if all of it has been read. An error means the
// peer does not keep the protocol.
func (f *frameReader) next() (h header, payload []byte, ok bool, err error) {
	if f.w-f.r < headerSize {
		return header{}, nil, false, nil
	}
	h, err = parseHeader(f.buf[f.r:])
	if err != nil {
		return h, nil, false, &violation{err.Error()}
	}
	end := f.r + headerSize + h.size
	if end > f.w {
		return h, nil, false, nil
	}
	payload = f.buf[f.r+headerSize : end : end]
	f.r = end
	return h, payload, true, nil
}

// more reads once. It is called when next has found no frame.
func (f *frameReader) more() error {
	f.makeRoom()
	n, err := f.src.Read(f.buf[f.w:])
	f.w += n
	f.full = f.w == len(f.buf)
	if n > 0 {
		return nil // what follows the bytes comes again
	}
	if errors.Is(err, io.EOF) && f.w > f.r {
		return io.ErrUnexpectedEOF
	}
	return err
}

// makeRoom sees to it that a record and the frame that has begun fit behind
// what is there.
func (f *frameReader) makeRoom() {
	switch {
	case f.buf == nil:
		f.buf = frameBuffers.Get().(*[frameRoom]byte)[:]
	case f.r == f.w:
		f.r, f.w = 0, 0
	case len(f.buf)-f.w < maxData:
		f.w = copy(f.buf, f.buf[f.r:f.w])
		f.r = 0
	}
}

// rest lets go of the buffer if nothing is in it. It is called before waiting.
func (f *frameReader) rest() {
	if f.buf == nil || f.r < f.w {
		return
	}
	frameBuffers.Put((*[frameRoom]byte)(f.buf))
	f.buf, f.r, f.w = nil, 0, 0
}

// read waits for a frame.
func (f *frameReader) read() (header, []byte, error) {
	for {
		h, payload, ok, err := f.next()
		if ok || err != nil {
			return h, payload, err
		}
		if err := f.more(); err != nil {
			return h, nil, err
		}
	}
}

// A violation is what a peer did that the protocol forbids. It ends the link.
type violation struct{ what string }

func (v *violation) Error() string { return v.what }

func violated(format string, args ...any) error {
	return &violation{fmt.Sprintf(format, args...)}
}
