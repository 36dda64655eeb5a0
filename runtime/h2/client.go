package h2

import (
	"context"
	"net"
	"sync"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
)

// A Client is one connection to a server, for many exchanges at once. It never
// repeats one and never dials.
type Client struct {
	*conn
	uploads sync.WaitGroup

	// The lock guards what follows.
	next     uint32    // the next stream
	reserved int       // places promised
	vacancy  sync.Cond // there may be a place, or none any more
}

// NewClient is the client's side of nc. Run must be called.
func NewClient(nc net.Conn) *Client {
	cl := &Client{next: 1}
	cl.conn = newConn(nc, cl)
	c := cl.conn
	cl.vacancy.L = &c.mu
	c.out = append(c.out, http2.ClientPreface...)
	c.queued = uint64(len(c.out))
	c.greet(http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	return cl
}

// Run reads the connection until it has ended, closes it, and waits for what
// the exchanges on it have started. The preface goes out with the first
// request.
func (cl *Client) Run() {
	cl.run()
	cl.mu.Lock()
	cl.vacancy.Broadcast()
	cl.mu.Unlock()
	cl.uploads.Wait()
}

// TryReserve takes a place for an exchange, which RoundTrip uses or Release
// gives back, unless the server takes no more at once or the connection ends.
func (cl *Client) TryReserve() bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.gone() != nil || cl.full() {
		return false
	}
	cl.reserved++
	return true
}

// Reserve is TryReserve that waits for a place, until ctx ends or there will be
// none: an error proves that nothing was written.
func (cl *Client) Reserve(ctx context.Context) error {
	watch := callctx.OnEnd(ctx, func() {
		cl.mu.Lock()
		cl.vacancy.Broadcast()
		cl.mu.Unlock()
	})
	defer watch.Stop()
	cl.mu.Lock()
	defer cl.mu.Unlock()
	for {
		switch {
		case ctx.Err() != nil:
			return notWritten(callctx.Cause(ctx))
		case cl.gone() != nil:
			return notWritten(cl.gone())
		case !cl.full():
			cl.reserved++
			return nil
		}
		cl.vacancy.Wait()
	}
}

// Release gives a place back that was not used.
func (cl *Client) Release() {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.reserved--
	cl.vacancy.Signal()
}

// gone is why there will be no place any more. The lock is held.
func (cl *Client) gone() error {
	if err := cl.cause(); err != nil {
		return err
	}
	if cl.leaving {
		return errLeaving
	}
	return nil
}

func (cl *Client) full() bool { return int64(len(cl.streams)+cl.reserved) >= int64(cl.peerMax) }

// Usable reports whether the connection takes new requests, full or not.
func (cl *Client) Usable() bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.gone() == nil
}

// Open is how many exchanges are under way.
func (cl *Client) Open() int {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return len(cl.streams) + cl.reserved
}

// Retire takes no more requests and ends the connection with the last exchange
// on it. It does not wait.
func (cl *Client) Retire() {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	cl.part()
	cl.vacancy.Broadcast()
}

// Close ends the connection and what runs on it, at once. It does not wait.
func (cl *Client) Close() { cl.end(errClosed) }

func (cl *Client) settled() {
	cl.mu.Lock()
	cl.vacancy.Broadcast()
	cl.mu.Unlock()
}

func (cl *Client) forgot() { cl.vacancy.Signal() }

func (cl *Client) idle(id uint32) bool { return id%2 == 0 || id >= cl.next }

func (cl *Client) ponged([8]byte) {}

func (cl *Client) tookBack() error { return nil }

// left ends the exchanges the server has not taken, with the proof.
func (cl *Client) left(last uint32, code http2.ErrCode) {
	c := cl.conn
	c.mu.Lock()
	var refused []*stream
	for id, s := range c.streams {
		if id > last {
			refused = append(refused, s)
			e := &Error{Code: code, Err: errLeaving}
			e.Evidence.AboveLeaving = true
			e.Evidence.NotWritten = s.start >= c.taken
			s.stopLocked(e)
		}
	}
	for _, s := range refused {
		c.forget(s)
	}
	c.part()
	cl.vacancy.Broadcast()
	c.mu.Unlock()
	for _, s := range refused {
		s.fail(s.stopped)
	}
}

// headers handles an answer's head, a 1xx answer, or trailers.
func (cl *Client) headers(b *block) error {
	c := cl.conn
	found := c.stream(b.stream)
	if found == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if cl.idle(b.stream) {
			return violated(http2.ErrCodeProtocol, "an answer on stream %d, which has not begun", b.stream)
		}
		return nil // it is over on this side
	}
	x := found.owner.(*exchange)
	if x.answered {
		return c.trailers(found, b)
	}
	h, wrong := b.answer()
	switch {
	case b.over:
		return &streamFault{found.id, http2.ErrCodeEnhanceYourCalm, "an answer's head that is too long"}
	case wrong != "":
		return &streamFault{found.id, http2.ErrCodeProtocol, wrong}
	}
	c.useful()
	if h.status < 200 {
		x.info(h)
		c.wakeSoon(found)
		return nil
	}
	x.answered = true
	x.gotHead(h)
	c.wakeSoon(found)
	if b.end {
		return c.gotEnd(found, nil)
	}
	return nil
}
