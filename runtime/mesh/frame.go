package mesh

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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
	b = append(b, byte(size>>16), byte(size>>8), byte(size), k) //nolint:gosec // three bytes hold any size a kind may have
	return binary.BigEndian.AppendUint32(b, call)
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

// A frameReader reads frames. The payload it returns is good until the next
// read.
type frameReader struct {
	r       *bufio.Reader
	scratch []byte
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 32<<10)}
}

// next reads one frame. An error that is a *violation means the peer does not
// keep the protocol; any other comes from the connection.
func (f *frameReader) next() (header, []byte, error) {
	head, err := f.r.Peek(headerSize)
	if err != nil {
		return header{}, nil, unexpected(err, len(head) > 0)
	}
	h, err := parseHeader(head)
	if err != nil {
		return h, nil, &violation{err.Error()}
	}
	_, _ = f.r.Discard(headerSize) // peeked
	if h.size <= f.r.Buffered() {
		payload, err := f.r.Peek(h.size)
		_, _ = f.r.Discard(h.size) // peeked
		return h, payload, err
	}
	if cap(f.scratch) < h.size {
		f.scratch = make([]byte, max(h.size, maxData))
	}
	payload := f.scratch[:h.size]
	_, err = io.ReadFull(f.r, payload)
	return h, payload, unexpected(err, true)
}

// unexpected is err, of the end of a connection that ends within a frame.
func unexpected(err error, within bool) error {
	if within && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A violation is what a peer did that the protocol forbids. It ends the link.
type violation struct{ what string }

func (v *violation) Error() string { return v.what }

func violated(format string, args ...any) error {
	return &violation{fmt.Sprintf(format, args...)}
}
