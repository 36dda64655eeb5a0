package h2

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A Stream is one exchange as a server has it. The handler's goroutine answers;
// Informational and the body are for any goroutine.
type Stream struct {
	stream
	conn    *ServerConn
	head    head
	over    bool // the head was too long
	noBody  bool // the head was the end
	body    bodyOf
	ctx     *callctx.Context
	started bool // the reader's: the handler runs
	status  int  // the handler's, as size
	size    int64

	// The lock guards what follows.
	answered  bool // the head of the answer has been queued
	continued bool // 100 has been sent, or is not waited for
}

func (sc *ServerConn) newStream(b *block, h head) *Stream {
	s := &Stream{conn: sc, head: h, over: b.over, noBody: b.end, continued: !h.expect}
	s.init(sc.conn, s)
	s.id = b.stream
	s.body = bodyOf{s: &s.stream}
	if h.expect {
		s.body.before = s.sendContinue
	}
	s.in.length = h.length
	s.in.ended = b.end
	s.ctx = callctx.New(sc.values(), time.Time{})
	return s
}

func (sc *ServerConn) values() context.Context {
	if sc.h.Values != nil {
		return sc.h.Values
	}
	return context.Background()
}

// wake begins the exchange, or tells it that more has come.
func (s *Stream) wake() {
	if s.started {
		s.in.wake()
		return
	}
	s.started = true
	if s.ctx.Err() != nil {
		s.finish() // it was taken back before it began
		return
	}
	s.conn.handlers.Add(1)
	go s.run()
}

func (s *Stream) headless() bool { return false }

// broken ends the exchange.
func (s *Stream) broken(e *Error) { s.ctx.Cancel(e) }

func (s *Stream) run() {
	defer s.conn.handlers.Done()
	defer s.finish()
	if s.over {
		_ = s.Reply(431, nil, nil) // a client that is gone cannot be told
		return
	}
	s.conn.h.Handler(s.ctx, s)
}

// finish leaves nothing of the exchange behind.
func (s *Stream) finish() {
	c := s.c
	c.mu.Lock()
	sent, got := s.sentEnd, s.gotEnd
	s.conn.running--
	if sent && c.tokens < resetBurst {
		c.tokens++
	}
	c.mu.Unlock()
	switch {
	case !sent:
		s.reset(http2.ErrCodeInternal, errOver)
	case !got:
		// The answer is complete; the rest of the request is of no use.
		s.reset(http2.ErrCodeNo, errOver)
	}
	_ = s.body.Close() // it has no error
	s.in.free()
	s.ctx.Cancel(errFinished)
}

// Method is the request's.
func (s *Stream) Method() string { return s.head.method }

// Scheme is the request's; "" for CONNECT.
func (s *Stream) Scheme() string { return s.head.scheme }

// Authority is whom the client addressed: the pseudo field, or else Host.
func (s *Stream) Authority() string {
	if s.head.authority != "" {
		return s.head.authority
	}
	return s.head.fields.Get("host")
}

// Path is the raw target, query included; "" for CONNECT.
func (s *Stream) Path() string { return s.head.path }

// Fields are the request's lines in order, names in lower case. They are the
// handler's.
func (s *Stream) Fields() invoke.Fields { return s.head.fields }

// Length is the body's as the client gives it, 0 without a body, -1 if it is
// not given.
func (s *Stream) Length() int64 {
	if s.Body() == nil {
		return 0
	}
	return s.head.length
}

// Expect reports whether the client waits for 100 before it sends the body. The
// body's first Read sends it.
func (s *Stream) Expect() bool { return s.head.expect && s.Body() != nil }

// Remote is the client's address.
func (s *Stream) Remote() string { return s.conn.remote }

// Body is the request's; nil if the head was the end. It knows
// invoke.WholeBody and invoke.CompleteBody.
func (s *Stream) Body() invoke.Body {
	if s.noBody {
		return nil
	}
	return &s.body
}

// sendContinue tells a client that waits for it to send the body.
func (s *Stream) sendContinue() {
	s.c.mu.Lock()
	send := !s.continued && !s.answered && !s.gotEnd
	s.continued = true
	s.c.mu.Unlock()
	if send {
		_ = s.inform(100, nil) // what fails, fails the next read
	}
}

// Informational sends a 1xx answer, if the final one has not begun.
func (s *Stream) Informational(status int, fields invoke.Fields) error {
	if status < 100 || status > 199 || status == 101 {
		return nil
	}
	if status == 100 {
		s.c.mu.Lock()
		known := s.continued && s.head.expect
		s.continued = true
		s.c.mu.Unlock()
		if known {
			return nil // the client has had it
		}
	}
	return s.inform(status, fields)
}

func (s *Stream) inform(status int, fields invoke.Fields) error {
	if bad := checkFields(fields); bad != "" {
		return errors.New("the field " + bad + " cannot be sent")
	}
	c := s.c
	c.mu.Lock()
	if err := s.admit(); err != nil || s.answered {
		c.mu.Unlock()
		return err
	}
	c.enc.begin()
	writeStatus(c.enc, status)
	c.enc.fields(fields, invoke.Nominated(fields))
	c.queueHead(s.id, false)
	c.push()
	return nil
}

// writeStatus begins an answer's block.
func writeStatus(e *encoder, status int) {
	if status == 200 {
		e.pseudo(":status", "200")
		return
	}
	e.pseudo(":status", strconv.Itoa(status))
}
