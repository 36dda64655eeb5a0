package h1

import (
	"bytes"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// bodyPatience bounds the wait for the rest of a body that fits into the
// buffer: many clients send head and body in two writes.
const bodyPatience = 5 * time.Millisecond

// States of a connection.
const (
	idle    uint32 = iota // nothing has come of the next request
	active                // a request is being read or answered
	closing               // Shutdown has closed it
)

// A conn is a connection. What is neither atomic nor guarded belongs to its
// goroutine; its buffer, while a call runs, to whoever reads the call's body.
type conn struct {
	s      *Server
	nc     net.Conn
	raw    syscall.RawConn
	fd     int // for the scanner, which does not trust it
	remote string

	busy    atomic.Uint32
	call    atomic.Pointer[Exchange]
	tunnel  *Exchange // guarded by Server.mu
	waiting bool      // a deadline is set for a head
	refusal Refusal

	buffer
}

// newConn is nil if nc's bytes cannot be had the way they are needed here.
func newConn(s *Server, nc net.Conn) *conn {
	raw, fd, ok := rawConn(nc)
	if !ok {
		return nil
	}
	c := &conn{s: s, nc: nc, raw: raw, fd: fd, remote: nc.RemoteAddr().String()}
	c.try = c.tryRead
	return c
}

// run serves requests until the connection is over or another engine's.
func (c *conn) run() Given {
	c.await(headTimeout)
	c.waiting = true
	for {
		x, v := c.next()
		switch v {
		case foreign:
			return c.give()
		case refused:
			c.refuse()
			return c.over()
		case incomplete:
			return c.over()
		case taken:
		}
		if !c.exchange(x) {
			return c.over()
		}
	}
}

func (c *conn) over() Given {
	_ = c.nc.Close() // nothing more is said on it
	c.w = c.r
	c.release()
	return Given{Over: true}
}

// give gives the connection back with what has been read.
func (c *conn) give() Given {
	data := bytes.Clone(c.unread())
	c.w = c.r
	c.release()
	return Given{Data: data, HTTP2: bytes.HasPrefix(data, []byte(preface))}
}

// preface is how HTTP/2 begins (RFC 9113 §3.4), as far as it tells.
const preface = "PRI * HTTP/2.0\r\n"

// await bounds the reads from now on; 0 lifts the bound. A connection that is
// closed already is found by its Read.
func (c *conn) await(d time.Duration) {
	if d == 0 {
		_ = c.nc.SetReadDeadline(time.Time{})
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(d))
}

// next reads the next head; incomplete means that there will be none.
func (c *conn) next() (*Exchange, verdict) {
	for {
		if (len(c.unread()) == 0 || c.scanned > 0) && c.fill() != nil {
			return nil, incomplete
		}
		if c.scanned == 0 && !c.busy.CompareAndSwap(idle, active) {
			return nil, incomplete // Shutdown came first
		}
		x, v := c.parse()
		c.awaitHead(v == incomplete)
		if v != incomplete {
			return x, v
		}
	}
}

// awaitHead bounds the wait for the rest of a head.
func (c *conn) awaitHead(waiting bool) {
	switch {
	case waiting == c.waiting:
		return
	case waiting:
		c.await(headTimeout)
	default:
		c.await(0)
	}
	c.waiting = waiting
}

// parse looks at the unread bytes for a request. Nothing is consumed unless it
// is taken.
func (c *conn) parse() (*Exchange, verdict) {
	data, limit := c.unread(), c.s.cfg.MaxHead
	if classes[data[0]]&isToken == 0 {
		return nil, foreign
	}
	from := max(c.scanned-3, 0)
	if from > 0 && data[from] == '\n' {
		from-- // a CRLF is looked at whole
	}
	end := bytes.Index(data[from:], []byte("\r\n\r\n")) + from
	if end < from {
		if why := broken(data[from:]); why != "" {
			return nil, c.refuses(badRequest(why))
		}
		if len(data) >= limit {
			return nil, c.refuses(tooLarge())
		}
		c.scanned = len(data)
		return nil, incomplete
	}
	c.scanned = 0
	size := end + len("\r\n\r\n")
	if size > limit {
		return nil, c.refuses(tooLarge())
	}
	var p parser
	v := p.parse(string(data[:end+len("\r\n")]))
	if v != taken {
		if why := broken(data[:size]); why != "" {
			return nil, c.refuses(badRequest(why)) // as if it had come in pieces
		}
	}
	switch v {
	case taken:
	case refused:
		return nil, c.refuses(badRequest(p.why))
	case foreign, incomplete:
		return nil, foreign
	}
	x := newExchange(c, &p.Head)
	if !c.s.cfg.Handler.Take(x) {
		return nil, foreign
	}
	c.r += size
	return x, taken
}

func (c *conn) refuses(r Refusal) verdict {
	c.refusal = r
	return refused
}

// exchange carries out one request and reports whether there may be another.
func (c *conn) exchange(x *Exchange) bool {
	c.readBody(x)
	x.begin()
	c.call.Store(x)
	c.s.called(x)
	c.s.cfg.Handler.Serve(x.ctx, x)
	c.call.Store(nil)
	again := x.finish()
	c.pinned = false
	c.release()
	if !again {
		return false
	}
	c.busy.Store(idle)
	return !c.s.draining.Load()
}

// readBody makes the body whole if all of it is there or comes at once.
func (c *conn) readBody(x *Exchange) {
	length, whole := x.Head.Length, false
	switch {
	case x.Head.Expect:
	case length < 0:
		if n, data := c.chunks(); n > 0 {
			x.body.whole(c.keep(n)[:data])
			whole = true
		}
	default:
		c.awaitBody(length)
		if whole = int64(len(c.unread())) >= length; whole {
			x.body.whole(c.keep(int(length)))
		}
	}
	x.ahead = whole && len(c.unread()) > 0
	c.release()
}

// awaitBody waits a moment for the rest of a body that fits into the buffer.
func (c *conn) awaitBody(length int64) {
	missing := func() bool { return int64(len(c.unread())) < length }
	if !missing() || length > int64(c.room()) {
		return
	}
	if c.poll(); missing() {
		c.await(bodyPatience)
		for missing() && c.fill() == nil {
		}
		c.await(0)
	}
}

// refuse answers what is no request.
func (c *conn) refuse() {
	reply := c.s.cfg.Handler.Refuse(c.refusal)
	b := appendStatus(nil, reply.Status, "")
	b = appendFields(b, reply.Fields)
	b = appendLength(b, int64(len(reply.Body)))
	b = append(b, "Connection: close\r\n\r\n"...)
	if _, err := c.nc.Write(append(b, reply.Body...)); err == nil {
		c.linger()
	}
}

// linger says that we are done and drops what still comes, for a while: a
// reset would destroy the answer on its way.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.await(lingerTime)
	c.w = c.r
	for dropped := 0; dropped < lingerBytes; dropped += len(c.unread()) {
		c.w = c.r
		if c.fill() != nil {
			return
		}
	}
}

// What is taken of a client's words nobody wants any more.
const (
	lingerTime  = 5 * time.Second
	lingerBytes = 1 << 20
)

// cut ends a call under way and everything else.
func (c *conn) cut(cause error) {
	x := c.call.Load()
	if x == nil {
		c.s.mu.Lock()
		x = c.tunnel
		c.s.mu.Unlock()
	}
	if x != nil {
		x.ctx.Cancel(cause)
	}
	_ = c.nc.Close() // what is left is cut off
}
