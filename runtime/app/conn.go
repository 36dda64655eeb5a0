package app

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Sizes of what is read into. Most heads and answers fit into the small one;
// the large one is for a body that flows, and holds the largest head.
const (
	smallBuffer = 16 << 10
	largeBuffer = 72 << 10
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

func takeBuffer() []byte      { return smallBuffers.Get().(*[smallBuffer]byte)[:] } //nolint:forcetypeassert // its only kind
func takeLargeBuffer() []byte { return largeBuffers.Get().(*[largeBuffer]byte)[:] } //nolint:forcetypeassert // its only kind

// giveBuffer returns what one of the above gave. Nobody may use it any more.
func giveBuffer(b []byte) {
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}

// errBufferFull says that a line does not fit into the largest buffer.
var errBufferFull = errors.New("a line that is too long")

// A conn is one HTTP/1.1 connection to the app. It belongs to one exchange, or
// to the pool while it is idle.
type conn struct {
	net.Conn
	host  string // the app's own address
	spot  *spot
	sight *sight
	// abort ends every read and write that is in progress, at once. It may be
	// called at any time.
	abort func()

	buf     []byte // nil while nothing of an answer is there
	r, w    int    // what has been read and not been used yet: buf[r:w]
	flowing bool   // more came at once than the small buffer holds

	uses  int       // exchanges completed
	asked time.Time // when the last one began
	idle  idleness
}

func newConn(c net.Conn, host string, at *spot) *conn {
	out := &conn{Conn: c, host: host, spot: at}
	tcp := c
	if secured, ok := c.(*tls.Conn); ok {
		tcp = secured.NetConn() // its own Close says goodbye, for which it may wait
	}
	out.abort = func() { _ = tcp.Close() } // what is in progress reports it
	out.sight = newSight(tcp)
	return out
}

// secure reports whether the bytes pass through TLS.
func (c *conn) secure() bool {
	_, secured := c.Conn.(*tls.Conn)
	return secured
}

// waits reports whether sight can wait for what the connection gives.
func (c *conn) waits() bool { return c.sight.canWait() && !c.secure() }

// buffered are the bytes that have been read and not been used yet.
func (c *conn) buffered() []byte { return c.buf[c.r:c.w] }

// fill reads more. It returns an error only if nothing came. While it waits for
// the beginning of something there is no buffer.
func (c *conn) fill() error {
	if c.r == c.w && !c.flowing && c.waits() {
		c.letGo()
		buf, n, err := c.sight.await()
		if err != nil {
			return err
		}
		c.buf = buf
		c.took(n)
		return nil
	}
	if err := c.makeRoom(); err != nil {
		return err
	}
	n, err := c.Conn.Read(c.buf[c.w:])
	c.took(n)
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// glance takes what has come meanwhile, without waiting, and reports whether
// anything has.
func (c *conn) glance() bool {
	if c.secure() || c.makeRoom() != nil {
		return false
	}
	n := c.sight.read(c.buf[c.w:])
	c.took(n)
	return n > 0
}

func (c *conn) took(n int) {
	c.w += n
	c.flowing = c.flowing || c.w == len(c.buf)
}

// makeRoom makes sure that there is room behind what is buffered.
func (c *conn) makeRoom() error {
	switch {
	case c.buf == nil:
		c.buf = takeBuffer()
	case c.r == c.w:
		c.r, c.w = 0, 0
		if c.flowing && len(c.buf) < largeBuffer {
			giveBuffer(c.buf)
			c.buf = takeLargeBuffer()
		}
	case c.w < len(c.buf):
	case c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	case len(c.buf) < largeBuffer:
		larger := takeLargeBuffer()
		copy(larger, c.buf)
		giveBuffer(c.buf)
		c.buf = larger
	default:
		return errBufferFull
	}
	return nil
}

// Read gives what is buffered first. What does not pass the buffer is read
// straight to where it is wanted.
func (c *conn) Read(p []byte) (int, error) {
	if c.r == c.w {
		if len(p) >= smallBuffer {
			if c.buf != nil && !c.flowing {
				c.letGo() // a stream or tunnel may stay silent for long
			}
			return c.Conn.Read(p)
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n, nil
}

// letGo gives the buffer back, in which nothing is left.
func (c *conn) letGo() {
	if c.buf != nil {
		giveBuffer(c.buf)
	}
	c.detach()
}

// detach takes the buffer off the connection for whoever still reads from it.
func (c *conn) detach() (buf []byte) {
	buf = c.buf
	c.buf, c.r, c.w, c.flowing = nil, 0, 0, false
	return buf
}

// maxLeading is how many empty lines before a head are skipped.
const maxLeading = 4

// block reads lines up to and including the first empty one, which is not
// returned; lines is how many. It is good until the next read. RFC 9112 §2.2: a
// lone LF ends a line as well, and some empty lines before a head are skipped.
func (c *conn) block(leading int) (block []byte, lines int, err error) {
	line, looked := 0, 0 // where the present line begins, and what is not looked at yet, behind c.r
	for {
		at := bytes.IndexByte(c.buf[c.r+looked:c.w], '\n')
		if at < 0 {
			looked = c.w - c.r
			if looked > maxHead {
				return nil, 0, errLongHead()
			}
			if err := c.fill(); err != nil {
				return nil, 0, err
			}
			continue
		}
		looked += at + 1
		if !isEmptyLine(c.buf[c.r+line : c.r+looked]) {
			lines++
			line = looked
			continue
		}
		block = c.buf[c.r : c.r+line]
		c.r += looked
		switch {
		case line > maxHead:
			return nil, 0, errLongHead()
		case line > 0 || leading == 0:
			return block, lines, nil
		}
		leading--
		line, looked = 0, 0
	}
}

// line takes one line off the buffer if all of it is there. It is good until
// the next read.
func (c *conn) line() (line []byte, ok bool) {
	at := bytes.IndexByte(c.buf[c.r:c.w], '\n')
	if at < 0 {
		return nil, false
	}
	line = c.buf[c.r : c.r+at+1]
	c.r += len(line)
	return line, true
}

func isEmptyLine(line []byte) bool {
	return len(line) == 1 || (len(line) == 2 && line[0] == '\r')
}

// quickAnswer is how soon an exchange is over whose beginning serves as its end.
const quickAnswer = 5 * time.Millisecond

// idleSince is since when the app may count the connection as idle. Its answer
// may have been here for long before it was read: the client was slow, or the
// machine had too much to do.
func (c *conn) idleSince(now time.Time) time.Time {
	took := now.Sub(c.asked)
	if took < quickAnswer {
		return c.asked
	}
	return now.Add(-min(c.sight.heard(), took))
}

// idleness is what is known of a connection while nobody uses it.
type idleness struct {
	since time.Time // by idleSince
	// quiet is until when it was seen to be open and silent.
	quiet time.Time
	// watched is closed when the read that began while the connection was idle
	// has returned; fault is how. Nil where a look is enough.
	watched chan struct{}
	fault   error
}
