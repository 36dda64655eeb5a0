package rpc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// prefixSize is what stands before a message: whether it is compressed, and its
// length.
const prefixSize = 5

// Frame is message as it stands in a body.
func Frame(message []byte) []byte {
	b := make([]byte, prefixSize, prefixSize+len(message))
	binary.BigEndian.PutUint32(b[1:], uint32(len(message))) //nolint:gosec // messages have a limit far below
	return append(b, message...)
}

// ReadMessage reads the one message of a unary answer, of at most limit bytes,
// and what is behind it to the end. ok is false if there is none. An error of
// the gRPC kind is a *Status.
func ReadMessage(body invoke.Body, limit int) (message []byte, ok bool, err error) {
	message, err = NewReader(body, limit).Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	var more [1]byte
	switch _, err := io.ReadFull(body, more[:]); {
	case err == nil:
		return nil, false, &Status{Code: Internal, Message: "more than one message in a unary answer"}
	case !errors.Is(err, io.EOF):
		return nil, false, err
	}
	return message, true, nil
}

// ReadAll reads a body of at most limit bytes that becomes a message. The error
// of one that is too long is a *Status.
func ReadAll(body io.Reader, limit int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, int64(limit)+1))
	if err == nil && len(data) > limit {
		return nil, TooLarge(int64(len(data)), limit)
	}
	return data, err
}

// TooLarge is what grpc-go says of a message above the limit; Dapr's clients
// know it so.
func TooLarge(size int64, limit int) *Status {
	return &Status{
		Code: ResourceExhausted, Message: fmt.Sprintf("grpc: received message larger than max (%d vs. %d)", size, limit),
	}
}
