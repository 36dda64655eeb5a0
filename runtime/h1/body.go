package h1

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

var errBodyClosed = errors.New("the request's body is closed")

// A body is a request's body. It may be closed while it is read, which ends the
// reading.
type body struct {
	x       *Exchange
	chunked bool

	// What follows is the reader's, and finish's once there is none.
	left     int64 // of the body, or of the present chunk
	state    chunkState
	lines    int // bytes of trailers so far
	trailers invoke.Fields

	mu      sync.Mutex    // guards what follows
	rest    []byte        // of a whole body
	there   bool          // the body is whole
	reading bool          // somebody waits for the client
	idle    chan struct{} // closed when reading ends; nil if nobody waits for that
	ended   bool          // io.EOF was found
	failed  error         // what the client did wrong
	err     error         // what every further Read says
	cut     bool          // a Read was ended by Close
}

// whole makes data all there is to read.
func (b *body) whole(data []byte) {
	b.rest, b.there, b.ended, b.left = data, true, true, 0
}

// Whole implements invoke.WholeBody.
func (b *body) Whole() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.there || b.err != nil && b.err != io.EOF { //nolint:errorlint // set here only
		return nil, false
	}
	return b.rest, true
}

// Read implements invoke.Body. The last bytes come with io.EOF where that is
// known.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.err != nil || len(p) == 0 {
		defer b.mu.Unlock()
		return 0, b.err
	}
	if b.there {
		defer b.mu.Unlock()
		n := copy(p, b.rest)
		if b.rest = b.rest[n:]; len(b.rest) == 0 {
			b.err = io.EOF
		}
		return n, b.err
	}
	b.reading = true
	b.mu.Unlock()
	n, err := b.wait(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	if b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
	if b.err != nil { // closed meanwhile
		return 0, b.err
	}
	b.err = err
	if err != nil && !b.ended {
		b.failed = err
	}
	return n, err
}

// wait reads from the client, who may have to be told to go on.
func (b *body) wait(p []byte) (int, error) {
	c := b.x.c
	if len(c.unread()) == 0 && !b.x.proceed() {
		return 0, errBodyClosed
	}
	return b.next(p)
}

// next reads what there is next; it waits only if there is nothing.
func (b *body) next(p []byte) (int, error) {
	if b.chunked {
		return b.nextChunked(p)
	}
	n, err := b.some(p)
	if err == nil && b.left == 0 {
		b.ended, err = true, io.EOF
	}
	return n, err
}

// some reads some of what is left of a body or chunk.
func (b *body) some(p []byte) (int, error) {
	c := b.x.c
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	var err error
	n := copy(p, c.unread())
	if n > 0 {
		c.r += n
		c.release()
	} else if b.chunked { // what frames the next chunk is at hand then
		if err = c.fill(); err == nil {
			n = copy(p, c.unread())
			c.r += n
			c.release()
		}
	} else {
		n, err = c.read(p, false)
	}
	b.left -= int64(n)
	return n, unexpected(err)
}

// unexpected makes an end in the middle an error of its own.
func unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // conn.read gives it bare
		return io.ErrUnexpectedEOF
	}
	return err
}

// Trailers implements invoke.Body.
func (b *body) Trailers() invoke.Fields {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reading || !b.ended {
		return nil
	}
	return b.trailers
}

// Close implements invoke.Body. It ends a Read under way: what the client
// still sends belongs to this request, so the connection does not go on.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = errBodyClosed
	}
	if b.reading && !b.cut {
		b.cut = true
		_ = b.x.c.nc.SetReadDeadline(time.Unix(1, 0)) // a closed connection reads nothing either
	}
	return nil
}

// bad is what the client did wrong, or nil.
func (b *body) bad() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// over reports whether the body has been read to its end.
func (b *body) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.reading && b.ended
}

// blocks reports whether so much is left of a closed body that no request can
// follow it.
func (b *body) blocks() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cut || b.failed != nil || !b.ended && !b.chunked && b.left > skipBytes
}

// finish waits until nobody reads any more, and reports whether the client's
// bytes have been read to the body's end.
func (b *body) finish() bool {
	if b.x == nil {
		return true // there was none
	}
	_ = b.Close() // never fails
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.reading {
		if b.idle == nil {
			b.idle = make(chan struct{})
		}
		idle := b.idle
		b.mu.Unlock()
		<-idle
		b.mu.Lock()
	}
	b.err, b.rest = errBodyClosed, nil
	return b.ended
}
