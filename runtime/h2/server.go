package h2

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
)

// A Server answers requests on the connections it is given.
type Server struct {
	// Handler carries out one exchange. The context ends when the client takes
	// the request back or its connection ends. What the handler leaves open
	// is ended when it returns: without an answer the exchange is reset.
	// Required.
	Handler func(ctx *callctx.Context, s *Stream)
	// Values is the context the exchanges have their values from. Nil: none.
	Values context.Context //nolint:containedctx // it is passed on, not waited for
}

// A ServerConn is a connection a Server answers on.
type ServerConn struct {
	*conn
	h        *Server
	remote   string
	handlers sync.WaitGroup
	running  int // handlers that have not returned; the lock guards it
	closing  bool
	probe    *time.Timer // ends the wait for the answer to our last ping
}

// NewConn is a Server on nc, from which the client's preface has not been read.
func (h *Server) NewConn(nc net.Conn) *ServerConn {
	sc := &ServerConn{h: h, remote: nc.RemoteAddr().String()}
	sc.conn = newConn(nc, sc)
	return sc
}

// Serve answers until the connection has ended and all handlers have returned,
// and closes it.
func (sc *ServerConn) Serve() {
	c := sc.conn
	c.mu.Lock()
	c.greet(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams})
	c.kick()
	c.mu.Unlock()
	if err := sc.preface(); err != nil {
		c.end(err)
	}
	c.run()
	sc.handlers.Wait()
	sc.stopProbe()
}

func (sc *ServerConn) preface() error {
	_ = sc.nc.SetReadDeadline(time.Now().Add(greetTime)) // a closed one fails the read
	for rest := http2.ClientPreface; rest != ""; {
		b, err := sc.src.next(len(rest))
		if err != nil {
			return err
		}
		if string(b) != rest[:len(b)] {
			return errors.New("the client does not speak HTTP/2")
		}
		rest = rest[len(b):]
	}
	return nil
}

// Shutdown ends the connection once the exchanges on it have ended, and those
// that the client begins before it hears of it. It does not wait.
func (sc *ServerConn) Shutdown() {
	c := sc.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if sc.closing || c.cause() != nil {
		return
	}
	sc.closing = true
	// Two steps (RFC 9113 §6.8): what the client has sent before it knew is
	// still carried out. The answer to the ping says that it knows.
	last := c.lastPeer
	c.lastPeer = maxWindow
	c.goAway(http2.ErrCodeNo, "")
	c.lastPeer = last
	c.queue(http2.FramePing, 0, 0, goodbye[:])
	sc.probe = time.AfterFunc(partingTime, sc.leave)
	c.kick()
}

// goodbye is the ping behind the first GOAWAY.
var goodbye = [8]byte{'p', 'a', 'r', 't', 'i', 'n', 'g'}

func (sc *ServerConn) ponged(data [8]byte) {
	if data == goodbye {
		sc.leave()
	}
}

// leave takes no more requests.
func (sc *ServerConn) leave() {
	c := sc.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if !sc.closing || c.leaving || c.cause() != nil {
		return
	}
	c.goAway(http2.ErrCodeNo, "")
	c.kick()
	c.part()
}

func (sc *ServerConn) stopProbe() {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if sc.probe != nil {
		sc.probe.Stop()
	}
}

// Close ends the connection and what runs on it, at once, because of cause.
func (sc *ServerConn) Close(cause error) { sc.end(cause) }

func (sc *ServerConn) settled() {}

func (sc *ServerConn) forgot() {}

func (sc *ServerConn) left(uint32, http2.ErrCode) {
	// The client opens no more streams; it may still wait for answers.
}

func (sc *ServerConn) idle(id uint32) bool { return id%2 == 0 || id > sc.lastPeer }

// tookBack counts a request that the client has taken back.
func (sc *ServerConn) tookBack() error {
	c := sc.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.tokensAt.IsZero() {
		c.tokens = min(resetBurst, c.tokens+resetRate*now.Sub(c.tokensAt).Seconds())
	}
	c.tokensAt = now
	if c.tokens--; c.tokens < 0 {
		return violated(http2.ErrCodeEnhanceYourCalm, "too many requests taken back")
	}
	return nil
}

// headers handles a request's head, or its trailers.
func (sc *ServerConn) headers(b *block) error {
	c := sc.conn
	if b.stream%2 == 0 {
		return violated(http2.ErrCodeProtocol, "a request on stream %d", b.stream)
	}
	if s := c.stream(b.stream); s != nil {
		return c.trailers(s, b)
	}
	refused, err := sc.accept(b.stream)
	switch {
	case err != nil:
		return err
	case refused:
		return &streamFault{b.stream, http2.ErrCodeRefusedStream, "too many streams"}
	}
	h, wrong := b.request()
	if wrong != "" && !b.over {
		return &streamFault{b.stream, http2.ErrCodeProtocol, wrong}
	}
	s := sc.newStream(b, h)
	c.mu.Lock()
	c.useless = 0
	if c.leaving {
		c.mu.Unlock()
		return nil // above what we have said we take
	}
	c.open(&s.stream)
	s.gotEnd = b.end
	sc.running++
	c.mu.Unlock()
	c.wakeSoon(&s.stream)
	return nil
}

// accept notes a new stream. It is refused if there are too many, those that
// were reset while their handlers still run included.
func (sc *ServerConn) accept(id uint32) (refused bool, err error) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if id <= sc.lastPeer {
		// Trailers of a stream that was reset here, or a mistake.
		if sc.useless++; sc.useless > uselessLimit {
			return false, violated(http2.ErrCodeEnhanceYourCalm, "nothing but frames that serve nothing")
		}
		return false, &streamFault{id, http2.ErrCodeStreamClosed, "a head behind the end"}
	}
	if sc.leaving {
		return false, nil
	}
	sc.lastPeer = id
	if sc.running < maxStreams {
		return false, nil
	}
	sc.useless++
	return true, nil
}

// trailers ends the peer's direction of s.
func (c *conn) trailers(s *stream, b *block) error {
	c.mu.Lock()
	over := s.gotEnd
	c.mu.Unlock()
	if over {
		return &streamFault{s.id, http2.ErrCodeStreamClosed, "trailers behind the end"}
	}
	fields, wrong := b.trailers()
	if wrong != "" {
		return &streamFault{s.id, http2.ErrCodeProtocol, wrong}
	}
	return c.gotEnd(s, fields)
}
