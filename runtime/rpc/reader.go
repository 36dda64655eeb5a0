package rpc

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A Reader reads the messages of a stream.
type Reader struct {
	from  invoke.Body
	limit int
	buf   []byte
}

// NewReader reads the messages of body, each of at most limit bytes.
func NewReader(body invoke.Body, limit int) *Reader { return &Reader{from: body, limit: limit} }

// Next returns the next message, which is good until the one after it is asked
// for; io.EOF behind the last. What is wrong with a message is a *Status.
func (r *Reader) Next() ([]byte, error) {
	var head [prefixSize]byte
	if _, err := io.ReadFull(r.from, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errWithin()
		}
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	switch {
	case head[0] != 0:
		return nil, errCompressed()
	case int64(size) > int64(r.limit):
		return nil, TooLarge(int64(size), r.limit)
	case int(size) > cap(r.buf):
		r.buf = make([]byte, size)
	}
	r.buf = r.buf[:size]
	if _, err := io.ReadFull(r.from, r.buf); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errWithin()
		}
		return nil, err
	}
	return r.buf, nil
}

func errWithin() *Status { return &Status{Code: Internal, Message: "the answer ends within a message"} }

func errCompressed() *Status {
	return &Status{Code: Internal, Message: "the answer is compressed, which was not asked for"}
}
