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

// Consumed bytes are given back to the sender in portions that are worth a
// frame. Where the link holds more than crowd a call may have been cut down to
// its sure part, and must not wait for a portion that does not come: small ones
// are given back then too, as soon as nothing is left to read. Below crowd what
// is left of the pool lets every call send more than a large portion.
const (
	largePortion = 64 << 10
	smallPortion = 1 << 10
	crowd        = pool / 2
)

var (
	smallPieces = sync.Pool{New: func() any { return new([smallPiece]byte) }}
	largePieces = sync.Pool{New: func() any { return new([largePiece]byte) }}
)

// An inbox holds what has come of one direction of a call until it is read. It
// holds at most callWindow bytes in hardly more memory than that.
type inbox struct {
	mu     sync.Mutex // guards what follows
	more   sync.Cond  // something has changed for who reads
	pieces [][]byte   // unread bytes; capacities are the pieces' sizes
	place  [1][]byte  // where pieces begins
	first  []byte     // the whole of pieces[0], for the pool
	size   int        // unread bytes
	owed   int        // consumed and not yet given back
	ended  bool
	// trailers are what came with the end.
	trailers invoke.Fields
	// exhausted is true once the reader has seen the end.
	exhausted bool
	err       error // after the unread bytes
	closed    bool  // nobody reads any more
	lent      bool  // somebody holds the first piece
}

// put adds what came, and leaves it to the link to tell the reader. It returns
// how many bytes nobody will read, which are to be given back at once.
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
		in.pieces = in.place[:0]
	}
	in.pieces = append(in.pieces, piece)
	return k
}

// end notes that the direction has ended well, and leaves it to the link to
// tell the reader.
func (in *inbox) end(trailers invoke.Fields) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return violated("a direction that ends twice")
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
	in.wake()
}

// shut drops what is unread and makes every Read return err. It returns how
// many bytes are to be given back. A piece that somebody holds is left to them:
// only who lent it knows when nobody does.
func (in *inbox) shut(err error) int {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !in.closed {
		in.closed, in.err = true, err
	}
	back := in.size + in.owed
	in.size, in.owed = 0, 0
	if len(in.pieces) > 0 && !in.lent {
		for len(in.pieces) > 0 {
			in.drop()
		}
	}
	in.wake()
	return back
}

// whole returns all that is left to read, if it is there. It is lent until
// giveUp.
func (in *inbox) whole() ([]byte, invoke.Fields, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case !in.ended || in.closed || len(in.pieces) > 1:
		return nil, nil, false
	case len(in.pieces) == 0:
		return nil, in.trailers, true
	}
	in.lent = true
	return in.pieces[0], in.trailers, true
}

// held is how much is unread, if no more comes.
func (in *inbox) held() (n int64, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return int64(in.size), in.ended
}

// giveUp is shut, by who knows that nobody holds anything any more.
func (in *inbox) giveUp(err error) int {
	in.mu.Lock()
	if in.lent && in.closed {
		for len(in.pieces) > 0 {
			in.lent = false
			in.drop()
		}
	}
	in.lent = false
	in.mu.Unlock()
	return in.shut(err)
}

// portion returns what is to be given back although it is little, because
// nothing is left to read.
func (in *inbox) portion() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.size > 0 || in.ended || in.owed < smallPortion {
		return 0
	}
	back := in.owed
	in.owed = 0
	return back
}

// take reads what is there. It reports how many bytes are to be given back
// for it, and whether there is nothing yet. in.mu is held.
func (in *inbox) take(p []byte, l *link) (n, back int, wait bool, err error) {
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
	if in.owed >= largePortion || in.size == 0 && in.owed >= smallPortion && !in.ended && l.isCrowded() {
		back, in.owed = in.owed, 0
	}
	return n, back, false, nil
}

// drop gives the first piece to its pool, unless somebody holds it.
func (in *inbox) drop() {
	whole := in.first[:cap(in.first)]
	switch {
	case in.lent:
	case len(whole) == smallPiece:
		smallPieces.Put((*[smallPiece]byte)(whole))
	case len(whole) == largePiece:
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

func (in *inbox) wake() { in.more.Broadcast() }
