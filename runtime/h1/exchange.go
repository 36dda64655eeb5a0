package h1

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An Exchange is one request and its answer. It belongs to the goroutine that
// Handler is called from.
type Exchange struct {
	Head Head
	// Call is what Serve carries out. Verb, Major, Host, Fields, Body, Length,
	// Expect, Remote and Informational are set; the rest is Take's.
	Call invoke.Call
	// Deadline ends the call's context if Take sets it.
	Deadline time.Time
	// Own is for Take to remember that no call follows: whoever takes the request
	// answers it.
	Own bool

	c     *conn
	ctx   *callctx.Context
	body  body
	began uint32 // by the scanner's clock
	ahead bool   // bytes of a next request are in the buffer

	status int
	size   int64

	mu        sync.Mutex // guards what follows, and writing
	answered  bool       // the final answer has begun
	continued bool       // 100 Continue has been sent
	keep      bool       // the connection may go on
}

func newExchange(c *conn, h *Head) *Exchange {
	x := &Exchange{Head: *h, c: c, keep: !h.Close}
	x.Call = invoke.Call{
		Verb: h.Verb, Major: 1, Host: h.Host, Fields: h.Fields, Length: h.Length,
		Expect: h.Expect, Remote: c.remote,
	}
	if !h.Old {
		x.Call.Informational = x.informational
	}
	if h.Length != 0 {
		x.body.x, x.body.left, x.body.chunked = x, h.Length, h.Length < 0
		x.Call.Body = &x.body
	} else {
		x.body.ended, x.body.err = true, io.EOF // there is none
	}
	return x
}

// Conn is the connection as it was given to Server.Serve. It must not be read,
// written or closed but after Switch.
func (x *Exchange) Conn() net.Conn { return x.c.nc }

// Status is the status that was answered, 0 before.
func (x *Exchange) Status() int { return x.status }

// Size is how many bytes of the answer's body have been written.
func (x *Exchange) Size() int64 { return x.size }

// begin makes the context of the call, which begins now.
func (x *Exchange) begin() {
	x.began = x.c.s.scan.looks.Load()
	x.ctx = callctx.New(x.c.s.base, x.Deadline)
}

var (
	errClientGone = errors.New("the client has gone")
	errOver       = errors.New("the exchange is over")
)

// BadBody is what was wrong with the request's body as the client sent it, or
// nil. A call that failed meanwhile failed because of it.
func (x *Exchange) BadBody() error {
	if x.ctx.Err() == nil {
		return x.body.bad()
	}
	return nil // not the client's mistake but its end
}

// informational writes a 1xx answer. 100 is written by the body's first Read
// where the client waits for it.
func (x *Exchange) informational(status int, fields invoke.Fields) error {
	if status < 100 || status > 199 || status == http.StatusSwitchingProtocols ||
		status == http.StatusContinue && x.Head.Expect {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.answered {
		return nil
	}
	b := appendStatus(make([]byte, 0, 256), status, "")
	b = appendFields(b, fields)
	_, err := x.c.nc.Write(append(b, "\r\n"...))
	return err
}

// proceed tells a client that waits for it to send the body. It reports whether
// a body may be waited for: a client that has its answer sends none.
func (x *Exchange) proceed() bool {
	if !x.Head.Expect {
		return true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.answered || x.continued {
		return x.continued
	}
	x.continued = true
	_, err := x.c.nc.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	return err == nil
}

// enough ends the reading of the request's body, because its answer is complete.
// If the connection cannot go on behind what is left of it, the answer must say
// so: the client may have handed all of it to its system already, and would send
// its next request, which would be lost.
func (x *Exchange) enough() {
	if x.body.x == nil {
		return // there was none
	}
	_ = x.body.Close() // never fails
	if x.body.blocks() || !x.body.over() && !x.skip() {
		x.keep = false
	}
}

// finish ends the exchange, and reports whether the connection may go on.
func (x *Exchange) finish() bool {
	read := x.body.finish()
	if x.body.cut {
		x.c.await(0)
	}
	x.ctx.Cancel(errOver)
	if !x.keep || x.status == 0 {
		if !read && x.status != 0 {
			x.c.linger()
		}
		return false
	}
	if read || x.skip() {
		return true
	}
	x.c.linger()
	return false
}

// What is taken of a body nobody wants, so that the connection may go on.
const (
	skipTime  = 100 * time.Millisecond
	skipBytes = 256 << 10
)

// skip drops the rest of the request's body if that is short and comes soon.
func (x *Exchange) skip() bool {
	b := &x.body
	if b.cut || b.failed != nil || x.Head.Expect && !x.continued || b.left > skipBytes {
		return false
	}
	x.c.await(skipTime)
	defer x.c.await(0)
	p := getBuffer()
	defer buffers.Put(p)
	// In chunks it is not known before how much there is: as much as linger takes.
	for dropped := 0; dropped < lingerBytes; {
		n, err := b.next(p[:])
		dropped += n
		if err != nil {
			return b.ended
		}
	}
	return false
}
