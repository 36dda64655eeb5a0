package app

import (
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

const (
	// continueWait is how long an app may take to answer Expect: 100-continue
	// before the body goes without it (RFC 9110 §10.1.1).
	continueWait = time.Second
	// settleWait is how long the rest of a body may take once its answer is
	// complete; then the app is taken at its word, and the sender stopped.
	settleWait = 20 * time.Millisecond

	pumpSize = 64 << 10
	// A chunk's line before the data, and what may follow it.
	chunkLine = 8
	chunkTail = len("\r\n0\r\n\r\n")
)

// pumpBuffers hold chunk line, data and chunk end, so that a chunk is one
// write.
var pumpBuffers = sync.Pool{New: func() any {
	return new([chunkLine + pumpSize + chunkTail]byte)
}}

// pump sends a call's body while its answer is awaited, or already read.
type pump struct {
	conn   *conn
	call   *invoke.Call
	pool   *pool
	sent   chan struct{} // closed when the app has the whole body
	go100  chan struct{} // closed when the body may be sent
	quit   chan struct{} // closed when it is not wanted any more
	once   sync.Once     // closes go100
	over   sync.Once     // closes quit
	failed atomic.Pointer[error]
}

func startPump(x *exchange) *pump {
	p := &pump{
		conn: x.conn, call: x.handover.call, pool: x.pool,
		sent: make(chan struct{}), go100: make(chan struct{}), quit: make(chan struct{}),
	}
	if !p.call.Expect {
		p.proceed()
	}
	if !p.pool.crew.run(p.run) {
		p.fail(errPoolClosed)
	}
	return p
}

// proceed lets the body go.
func (p *pump) proceed() { p.once.Do(func() { close(p.go100) }) }

// answered says that the final head is there. An app that gave it without
// asking for the body does not want the body.
func (p *pump) answered() {
	select {
	case <-p.go100:
	default:
		p.over.Do(func() { close(p.quit) })
	}
}

func (p *pump) isSent() bool {
	select {
	case <-p.sent:
		return true
	default:
		return false
	}
}

// abandon ends the pump: its connection is closed.
func (p *pump) abandon() {
	p.over.Do(func() { close(p.quit) })
	select {
	case <-p.sent: // the goroutine sees the end of the body by itself
	default:
		p.pool.crew.closeBody(p.call)
	}
}

// settle decides about a connection whose answer ended before the body did.
func (p *pump) settle() {
	decide := func() {
		timer := time.NewTimer(settleWait)
		defer timer.Stop()
		select {
		case <-p.sent:
			p.pool.put(p.conn)
		case <-timer.C:
			p.pool.discard(p.conn)
			p.abandon()
		case <-p.quit:
			p.pool.discard(p.conn)
			p.abandon()
		}
	}
	if !p.pool.crew.run(decide) {
		p.pool.discard(p.conn)
		p.abandon()
	}
}

// fail notes why the call cannot be completed and closes the connection, so
// that whoever awaits the answer hears of it.
func (p *pump) fail(err error) {
	p.failed.Store(&err)
	_ = p.conn.Close() // that is the message
}

func (p *pump) run() {
	defer closeBody(p.call)
	if !p.waitFor100() {
		return
	}
	var err error
	if p.call.Length < 0 {
		err = p.chunks()
	} else {
		err = p.plain(p.call.Length)
	}
	if _, unreadable := errors.AsType[*bodyError](err); unreadable {
		p.fail(err)
	}
	// Any other error is the app's: it may have answered all the same.
}

func (p *pump) waitFor100() bool {
	if !p.call.Expect {
		return true
	}
	timer := time.NewTimer(continueWait)
	defer timer.Stop()
	select {
	case <-p.go100:
	case <-timer.C:
		p.proceed()
	case <-p.quit:
		return false
	}
	return true
}

// A bodyError says that the caller's body could not be read to its end.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "the caller's body broke off: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// plain sends a body of known length. Then the body's end is awaited, so that
// closing it does not look like giving up.
func (p *pump) plain(length int64) error {
	buf := pumpBuffers.Get().(*[chunkLine + pumpSize + chunkTail]byte) //nolint:forcetypeassert // the pool's only kind
	defer pumpBuffers.Put(buf)
	for left := length; left > 0; {
		n, err := p.call.Body.Read(buf[:min(left, pumpSize)])
		if n > 0 {
			if _, werr := p.conn.Write(buf[:n]); werr != nil {
				return werr
			}
			left -= int64(n)
		}
		if err != nil && left > 0 {
			return &bodyError{err: unexpected(err)}
		}
	}
	close(p.sent)
	for {
		if n, err := p.call.Body.Read(buf[:1]); err != nil || n > 0 {
			return nil
		}
	}
}

// chunks sends a body of unknown length, each read as a chunk of its own, and
// the trailers behind it.
func (p *pump) chunks() error {
	buf := pumpBuffers.Get().(*[chunkLine + pumpSize + chunkTail]byte) //nolint:forcetypeassert // the pool's only kind
	defer pumpBuffers.Put(buf)
	for {
		n, err := p.call.Body.Read(buf[chunkLine : chunkLine+pumpSize])
		if err != nil && err != io.EOF { //nolint:errorlint // Body gives it bare
			return &bodyError{err: err}
		}
		var out []byte
		if n > 0 {
			var line [chunkLine]byte
			size := appendChunkLine(line[:0], n)
			start := chunkLine - len(size)
			copy(buf[start:], size)
			out = append(buf[start:chunkLine+n], "\r\n"...)
		}
		if err != nil {
			out = appendLastChunk(out, p.call.Body.Trailers())
		}
		if len(out) > 0 {
			if _, werr := p.conn.Write(out); werr != nil {
				return werr
			}
		}
		if err != nil {
			close(p.sent)
			return nil
		}
	}
}

func appendChunkLine(b []byte, size int) []byte {
	return append(strconv.AppendInt(b, int64(size), 16), "\r\n"...)
}

func appendLastChunk(b []byte, trailers invoke.Fields) []byte {
	b = append(b, "0\r\n"...)
	for _, f := range trailers {
		if isTrailer(f.Name) && isValue(f.Value) {
			b = appendField(b, f.Name, f.Value)
		}
	}
	return append(b, "\r\n"...)
}
