// Package h2 is an HTTP/2 connection, as a server and as a client: frames and
// header compression are golang.org/x/net's, the exchanges above them are ours.
// It keeps what the standard engines lose: the order of fields, the bytes of a
// path, and the proof whether a request may have been seen. It repeats nothing,
// decides nothing and knows no Dapr.
//
// One goroutine reads a connection. Whoever has something to send queues it
// and, unless somebody is writing, writes all there is at once, so that a small
// message costs one write and many of them, under load, share one.
package h2

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Bounds of a connection.
const (
	// connWindow and streamWindow are what a peer may send ahead of what is
	// read here. A connection's window is given back as data comes, until
	// heldLimit is waiting to be read on it: a few stalled exchanges do not
	// stop the others.
	connWindow   = 4 << 20
	streamWindow = 256 << 10
	heldLimit    = 16 << 20
	// connPortion and streamPortion are how much is given back at once.
	connPortion   = connWindow / 4
	streamPortion = streamWindow / 4
	// headLimit bounds a head and trailers, counted as HTTP/2 counts: names,
	// values and 32 bytes for each line.
	headLimit = 64 << 10
	// blockLimit and blockFrames bound a header block as it comes.
	blockLimit  = 2 * headLimit
	blockFrames = 256
	// frameLimit is the largest frame taken: the smallest limit there may be.
	frameLimit = 16 << 10
	// gather is how much may wait to be written before senders wait; flood is
	// how much of what cannot wait (a peer that is not read is cut off).
	gather = 64 << 10
	flood  = 1 << 20
	// tableSize bounds both header compression tables.
	tableSize = 4 << 10
	// maxStreams is how many exchanges a client may have open with us;
	// assumedStreams how many a server takes until it says so.
	maxStreams     = 1000
	assumedStreams = 100
	// infoLimit bounds the 1xx answers that wait to be passed on.
	infoLimit = 16

	// greetTime bounds the wait for the peer's first frame, and for the rest
	// of a frame or header block that has begun.
	greetTime = 10 * time.Second
	// partingTime bounds what is done at a connection's end: writing what is
	// left, and hearing what the peer said last.
	partingTime = time.Second
	// stuckTime is how long a peer may take nothing at all, once somebody has
	// given up on it, before it counts as gone.
	stuckTime = 10 * time.Second
)

// Reasons for the end of a connection or an exchange.
var (
	errParted   = errors.New("the connection has ended in peace")
	errClosed   = errors.New("the connection was closed")
	errLeaving  = errors.New("the connection takes no more requests")
	errStuck    = errors.New("the peer does not read what it is sent")
	errFinished = errors.New("the exchange is over")
)

// errOver is what ends an exchange that its owner has done with.
var errOver = &Error{Code: http2.ErrCodeCancel, Err: errFinished}

// An Error is why an exchange has failed, and the proof of how far it came.
type Error struct {
	// Evidence is what is known about how far the request came.
	Evidence invoke.Evidence
	// Code is the peer's or our own reason as HTTP/2 has it.
	Code http2.ErrCode
	// Reset is true if the peer reset the exchange.
	Reset bool
	Err   error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap is what the error was made from.
func (e *Error) Unwrap() error { return e.Err }

// Evidence is the proof that err carries; none if it is not of this package.
func Evidence(err error) invoke.Evidence {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Evidence
	}
	return invoke.Evidence{}
}

// notWritten is an error of an exchange nothing was written of.
func notWritten(err error) *Error {
	return &Error{Evidence: invoke.Evidence{NotWritten: true}, Code: http2.ErrCodeNo, Err: err}
}

// A violation is what ends a connection: the peer broke the protocol.
type violation struct {
	code http2.ErrCode
	what string
}

func (v *violation) Error() string { return v.code.String() + ": " + v.what }

func violated(code http2.ErrCode, format string, args ...any) error {
	return &violation{code, fmt.Sprintf(format, args...)}
}

// A streamFault ends one exchange: the peer broke its protocol.
type streamFault struct {
	id   uint32
	code http2.ErrCode
	what string
}

func (f *streamFault) Error() string { return f.code.String() + ": " + f.what }
