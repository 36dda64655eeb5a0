package mesh

import (
	"io"
	"sync"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Sizes of the pieces an inbox keeps bytes in. Most bodies fit the small one.
const (
	smallPiece = 1 << 10
	largePiece = 16 << 10
)

// Consumed bytes are given back to the sender in portions: enough to be worth
// a frame, and early enough that a call cut down to what is left of the link's
// window never waits for a portion that does not come.
const (
	largePortion = 32 << 10
	smallPortion = 1 << 10
)

var (
	smallPieces = sync.Pool{New: func() any { return new([smallPiece]byte) }}
	largePieces = sync.Pool{New: func() any { return new([largePiece]byte) }}
)

// An inbox holds what has come of one direction of a call until it is read. It
// holds at most callWindow bytes in hardly more memory than that.
type inbox struct {
	ready chan struct{} // capacity 1: something has changed for the reader

	mu       sync.Mutex // guards what follows
	pieces   [][]byte   // unread bytes; capacities are the pieces' sizes
	first    []byte     // the whole of pieces[0], for the pool
	size     int        // unread bytes
	owed     int        // consumed and not yet given back
	ended    bool
	trailers invoke.Fields
	// exhausted is true once the reader has seen the end.
	exhausted bool
	err       error // after the unread bytes
	closed    bool  // nobody reads any more
}

// put adds what came. It returns how many bytes nobody will read, which are to
// be given back at once.
func (in *inbox) put(b []byte) (unread int, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.ended:
		return 0, violated("data behind the end of its direction")
	case in.closed || in.err != nil:
		return len(b), nil
	case in.size+in.owed+len(b) > callWindow:
		return 0, violated("more data than the call's window")
	}
	in.size += len(b)
	for len(b) > 0 {
		b = b[in.fill(b):]
	}
	in.wake()
	return 0, nil
}

// fill copies the beginning of b behind what is there.
func (in *inbox) fill(b []byte) int {
	if n := len(in.pieces); n > 0 {
		last := in.pieces[n-1]
		if room := cap(last) - len(last); room > 0 {
			k := min(room, len(b))
			in.pieces[n-1] = append(last, b[:k]...)
			return k
		}
	}
	var piece []byte
	if len(in.pieces) == 0 && len(b) <= smallPiece {
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

// end notes that the direction has ended well.
func (in *inbox) end(trailers invoke.Fields) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return violated("a direction that ends twice")
	}
	in.ended = true
	in.trailers = trailers
	in.wake()
	return nil
}

// fail makes the reader get err behind what has come.
func (in *inbox) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil && !in.ended {
		in.err = err
	}
	in.wake()
}

// shut drops what is unread and makes every Read return err. It returns how
// many bytes are to be given back.
func (in *inbox) shut(err error) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.closed {
		in.closed, in.err = true, err
	}
	back := in.size + in.owed
	in.size, in.owed = 0, 0
	for len(in.pieces) > 0 {
		in.drop()
	}
	in.wake()
	return back
}

// take reads what is there. It reports how many bytes are to be given back
// for it, and whether there is nothing yet.
func (in *inbox) take(p []byte) (n, back int, wait bool, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.exhausted:
		return 0, 0, false, io.EOF
	case in.closed:
		return 0, 0, false, in.err
	case in.size == 0 && in.ended:
		back, in.owed = in.owed, 0
		in.exhausted = true
		return 0, back, false, io.EOF
	case in.size == 0 && in.err != nil:
		back, in.owed = in.owed, 0
		return 0, back, false, in.err
	case in.size == 0:
		return 0, 0, len(p) > 0, nil
	}
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
	if in.owed >= largePortion || in.size == 0 && in.owed >= smallPortion {
		back, in.owed = in.owed, 0
	}
	return n, back, false, nil
}

// drop gives the first piece to its pool.
func (in *inbox) drop() {
	whole := in.first[:cap(in.first)]
	switch len(whole) {
	case smallPiece:
		smallPieces.Put((*[smallPiece]byte)(whole))
	case largePiece:
		largePieces.Put((*[largePiece]byte)(whole))
	}
	in.pieces[0] = nil
	in.pieces = in.pieces[1:]
	in.first = nil
	if len(in.pieces) > 0 {
		in.first = in.pieces[0][:0]
	}
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

// isEnded reports whether all that will come has come, or nobody reads.
func (in *inbox) isEnded() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.ended || in.closed
}

func (in *inbox) wake() {
	select {
	case in.ready <- struct{}{}:
	default:
	}
}
