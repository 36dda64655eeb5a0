package app

import (
	"io"
	"sync"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// wholeBody is an answer's body all of which is there: it has the buffer, and
// the connection carries other calls already.
type wholeBody struct {
	exchange *exchange
	trailers invoke.Fields

	mu   sync.Mutex // guards what follows
	buf  []byte     // nil once closed
	rest []byte
	read bool // to its end
}

var _ invoke.CompleteBody = (*wholeBody)(nil)

func (b *wholeBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf == nil {
		return 0, io.ErrClosedPipe
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	if len(b.rest) > 0 || (n == 0 && len(p) == 0 && !b.read) {
		return n, nil
	}
	b.read = true
	b.exchange.end()
	return n, io.EOF
}

// Close makes what Whole and Complete gave invalid.
func (b *wholeBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf != nil {
		giveBuffer(b.buf)
		b.buf, b.rest = nil, nil
		b.exchange.end()
	}
	return nil
}

// Trailers are complete once Read has returned io.EOF.
func (b *wholeBody) Trailers() invoke.Fields {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.read {
		return nil
	}
	return b.trailers
}

func (b *wholeBody) Whole() (rest []byte, ok bool) {
	rest, trailers, ok := b.Complete()
	return rest, ok && len(trailers) == 0
}

func (b *wholeBody) Complete() (rest []byte, trailers invoke.Fields, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rest, b.trailers, b.buf != nil
}

// end says that the answer's body has ended, once.
func (x *exchange) end() {
	if !x.over.Swap(true) {
		x.handover.ended()
	}
}

// gather makes the answer's body a whole one if its length bytes have come.
func (x *exchange) gather(length int64) bool {
	c := x.conn
	for int64(len(c.buffered())) < length {
		if length > int64(len(c.buf)) || !c.glance() {
			return false
		}
	}
	body := c.buffered()[:length]
	c.r += len(body)
	x.complete(body, nil)
	return true
}

// gatherChunks makes the answer's body a whole one if all of its chunks have
// come, and the trailers behind them.
func (x *exchange) gatherChunks() bool {
	c := x.conn
	data, end, ok := chunksIn(c.buffered(), false)
	if !ok || !hasBlock(c.buffered()[end:]) {
		if len(c.buffered()) == len(c.buf) || !c.glance() { // the last chunk often comes by itself
			return false
		}
		if data, end, ok = chunksIn(c.buffered(), false); !ok || !hasBlock(c.buffered()[end:]) {
			return false
		}
	}
	chunks, at := c.buffered(), c.r
	c.r += end
	block, lines, err := c.block(0)
	if err != nil {
		c.r = at
		return false // the reader of the body says what is wrong
	}
	trailers, err := parseTrailers(string(block), lines)
	if err != nil {
		c.r = at
		return false
	}
	chunksIn(chunks, true)
	x.complete(chunks[:data], trailers)
	return true
}

// complete makes body, a part of the connection's buffer behind which the
// connection is read, the answer's. The connection is free.
func (x *exchange) complete(body []byte, trailers invoke.Fields) {
	c := x.conn
	x.keep = x.keep && c.r == c.w // else more than an answer came
	x.whole.exchange, x.whole.trailers = x, trailers
	x.whole.rest, x.whole.buf = body, c.detach()
	x.part(true)
}
