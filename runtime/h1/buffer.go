package h1

import (
	"io"
	"sync"
)

const (
	// bufferSize is that of the buffers that connections share: a connection
	// has one only while it has something unread.
	bufferSize = 32 << 10
	// smallBody is how much of a body is copied aside, so that its connection
	// needs no buffer while the call runs.
	smallBody = 1 << 10
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

func getBuffer() *[bufferSize]byte {
	b, _ := buffers.Get().(*[bufferSize]byte) // there is nothing else in it
	return b
}

// A buffer is what a connection has read ahead.
type buffer struct {
	pooled  *[bufferSize]byte // what in is made of, unless it has outgrown it
	in      []byte            // nil while there is nothing in it
	r, w    int               // in[r:w] is unread
	scanned int               // of the unread bytes, searched for a head's end
	pinned  bool              // a call's body lies in it
	small   []byte

	try  func(fd uintptr) bool // conn.tryRead
	into []byte                // where try reads to; nil: the buffer
	once bool                  // try does not wait
	n    int
	err  error
}

func (b *buffer) unread() []byte { return b.in[b.r:b.w] }

// room is how many bytes from the unread ones on the buffer can hold.
func (b *buffer) room() int { return len(b.in) - b.r }

// keep takes n unread bytes, which stay as they are until pinned ends.
func (b *buffer) keep(n int) []byte {
	data := b.in[b.r : b.r+n : b.r+n]
	b.r += n
	if b.r == b.w && n <= smallBody {
		b.small = append(b.small[:0], data...)
		return b.small
	}
	b.pinned = true
	return data
}

// release gives the memory back if nothing is in it.
func (b *buffer) release() {
	if b.r < b.w || b.pinned || b.in == nil {
		return
	}
	if b.pooled != nil {
		buffers.Put(b.pooled)
	}
	b.pooled, b.in, b.r, b.w = nil, nil, 0, 0
}

// makeRoom makes sure that there is room behind what is unread.
func (b *buffer) makeRoom() {
	if b.in == nil || b.w < len(b.in) {
		return
	}
	if b.r > 0 {
		b.w = copy(b.in, b.unread())
		b.r = 0
		return
	}
	larger := make([]byte, 2*len(b.in))
	b.w = copy(larger, b.in)
	if b.pooled != nil {
		buffers.Put(b.pooled)
	}
	b.in, b.pooled = larger, nil
}

// tryRead reads once if something is there. It reports whether it is done; a
// buffer is taken only for bytes that have come.
func (c *conn) tryRead(fd uintptr) bool {
	into := c.into
	if into == nil {
		if c.in == nil {
			c.pooled = getBuffer()
			c.in, c.r, c.w = c.pooled[:], 0, 0
		}
		into = c.in[c.w:]
	}
	var again bool
	c.n, again, c.err = readNow(fd, into)
	if again {
		c.release()
	}
	return !again || c.once
}

// read reads once, into p or, if p is nil, into the buffer. It waits unless
// once is set.
func (c *conn) read(p []byte, once bool) (int, error) {
	c.into, c.once, c.n, c.err = p, once, 0, nil
	if err := c.raw.Read(c.try); err != nil {
		return 0, err
	}
	if c.n == 0 && c.err == nil {
		c.err = io.EOF
	}
	return c.n, c.err
}

// fill waits for more bytes.
func (c *conn) fill() error {
	c.makeRoom()
	n, err := c.read(nil, false)
	c.w += n
	return err
}

// poll takes what has come already.
func (c *conn) poll() {
	c.makeRoom()
	n, _ := c.read(nil, true) // an error comes again when it is waited for
	c.w += n
}
