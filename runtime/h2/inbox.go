package h2

import (
	"io"
	"sync"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Sizes of the pieces an inbox keeps bytes in. Most bodies fit the small one.
const (
	smallPiece = 1 << 10
	largePiece = frameLimit
)

var (
	smallPieces = sync.Pool{New: func() any { return new([smallPiece]byte) }}
	largePieces = sync.Pool{New: func() any { return new([largePiece]byte) }}
)

// An inbox holds what has come of one direction of an exchange until it is
// read: at most streamWindow bytes in hardly more memory than that.
type inbox struct {
	mu       sync.Mutex // guards what follows
	changed  sync.Cond
	pieces   [][]byte  // unread bytes
	backing  [2][]byte // where pieces begins
	first    []byte    // the whole of pieces[0], for the pool
	size     int       // unread bytes
	owed     int       // consumed and not yet given back
	length   int64     // bytes still to come as the head said; -1: it did not
	ended    bool
	trailers invoke.Fields
	// exhausted is true once the reader has seen the end.
	exhausted bool
	err       error // after the unread bytes
	closed    bool  // nobody reads any more
	lent      bool  // rest was given away: the piece is good until free
}

func (in *inbox) init() {
	in.changed.L = &in.mu
	in.pieces = in.backing[:0]
	in.length = -1
}

// put adds what came of a frame of which more bytes follow. It returns how many
// bytes nobody will read. It wakes nobody.
func (in *inbox) put(b []byte, more int) (unread int, fault *streamFault) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.closed || in.err != nil:
		return len(b), nil
	case in.size+in.owed+len(b) > streamWindow:
		return len(b), &streamFault{code: http2.ErrCodeFlowControl, what: "more data than the stream's window"}
	case in.length >= 0 && in.length < int64(len(b)):
		return len(b), &streamFault{code: http2.ErrCodeProtocol, what: "more data than Content-Length"}
	}
	if in.length >= 0 {
		in.length -= int64(len(b))
	}
	in.size += len(b)
	for len(b) > 0 {
		b = b[in.fill(b, more):]
	}
	return 0, nil
}

// fill copies the beginning of b behind what is there.
func (in *inbox) fill(b []byte, more int) int {
	if n := len(in.pieces); n > 0 {
		last := in.pieces[n-1]
		if room := cap(last) - len(last); room > 0 {
			k := min(room, len(b))
			in.pieces[n-1] = append(last, b[:k]...)
			return k
		}
	}
	var piece []byte
	if len(in.pieces) == 0 && len(b)+more <= smallPiece {
		piece = smallPieces.Get().(*[smallPiece]byte)[:0]
	} else {
		piece = largePieces.Get().(*[largePiece]byte)[:0]
	}
	k := min(cap(piece), len(b))
	piece = append(piece, b[:k]...)
	if len(in.pieces) == 0 {
		in.first = piece[:0]
	}
	in.pieces = append(in.pieces, piece)
	return k
}

// end notes that the direction has ended. It wakes nobody.
func (in *inbox) end(trailers invoke.Fields) *streamFault {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.length > 0 && !in.closed {
		return &streamFault{code: http2.ErrCodeProtocol, what: "less data than Content-Length"}
	}
	in.ended = true
	in.trailers = trailers
	return nil
}

// fail makes the reader get err behind what has come.
func (in *inbox) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil && !in.ended {
		in.err = err
	}
	in.changed.Broadcast()
}

// shut drops what is unread and makes every Read return err. It returns how
// many bytes were dropped.
func (in *inbox) shut(err error) (dropped int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.closed {
		in.closed, in.err = true, err
	}
	dropped = in.size
	in.size, in.owed = 0, 0
	if !in.lent {
		in.empty()
	}
	in.changed.Broadcast()
	return dropped
}

// free gives all memory back: what rest gave is not used any more.
func (in *inbox) free() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.lent = false
	in.empty()
}

func (in *inbox) empty() {
	for len(in.pieces) > 0 {
		in.drop()
	}
}

// take reads what is there, waiting for it. It reports how many bytes of the
// stream's window are to be given back.
func (in *inbox) take(p []byte) (n, back int, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		switch {
		case in.exhausted:
			return 0, 0, io.EOF
		case in.closed:
			return 0, 0, in.err
		case in.size > 0:
			n, back = in.copyOut(p)
			return n, back, nil
		case in.ended:
			in.exhausted = true
			return 0, 0, io.EOF
		case in.err != nil:
			return 0, 0, in.err
		case len(p) == 0:
			return 0, 0, nil
		}
		in.changed.Wait()
	}
}

func (in *inbox) copyOut(p []byte) (n, back int) {
	for n < len(p) && len(in.pieces) > 0 {
		k := copy(p[n:], in.pieces[0])
		n += k
		in.pieces[0] = in.pieces[0][k:]
		if len(in.pieces[0]) > 0 {
			break
		}
		in.drop()
	}
	in.size -= n
	in.owed += n
	if in.owed >= streamPortion && !in.ended && in.err == nil {
		back, in.owed = in.owed, 0
	}
	return n, back
}

// drop gives the first piece to its pool.
func (in *inbox) drop() {
	whole := in.first[:cap(in.first)]
	switch {
	case in.lent: // somebody still has it
	case len(whole) == smallPiece:
		smallPieces.Put((*[smallPiece]byte)(whole))
	case len(whole) == largePiece:
		largePieces.Put((*[largePiece]byte)(whole))
	}
	n := copy(in.pieces, in.pieces[1:])
	in.pieces[n] = nil
	in.pieces = in.pieces[:n]
	in.first = nil
	if n > 0 {
		in.first = in.pieces[0][:0]
	}
}

// rest is what is unread, if that is all there will be and lies in one place.
func (in *inbox) rest() (b []byte, trailers invoke.Fields, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.ended || in.closed || len(in.pieces) > 1 {
		return nil, nil, false
	}
	if len(in.pieces) == 1 {
		b = in.pieces[0]
		in.lent = true
	}
	return b, in.trailers, true
}

// behind returns the trailers once all of the direction has been read.
func (in *inbox) behind() invoke.Fields {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.exhausted {
		return nil
	}
	return in.trailers
}

func (in *inbox) wake() {
	in.mu.Lock()
	in.changed.Broadcast()
	in.mu.Unlock()
}
