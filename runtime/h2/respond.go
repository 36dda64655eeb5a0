package h2

import (
	"errors"
	"strconv"
	"sync"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// copySize is how much of a body is read at once.
const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// An answerHead is the head of an answer.
type answerHead struct {
	status int
	fields invoke.Fields
	length int64 // -1: not said
}

func (h *answerHead) write(e *encoder) {
	writeStatus(e, h.status)
	e.fields(h.fields, invoke.Nominated(h.fields))
	if h.length >= 0 && h.status >= 200 && h.status != 204 {
		e.field("content-length", strconv.FormatInt(h.length, 10))
	}
}

// sayHead sends the answer's head with what follows it, once.
func (s *Stream) sayHead(h *answerHead, m *message) error {
	if h.status < 200 || h.status > 999 {
		return errors.New("the status " + strconv.Itoa(h.status) + " cannot be sent")
	}
	if bad := checkFields(h.fields); bad != "" {
		return errors.New("the field " + bad + " cannot be sent")
	}
	s.c.mu.Lock()
	again := s.answered
	s.answered = true
	s.c.mu.Unlock()
	if again {
		return errors.New("there is an answer already")
	}
	m.head = h.write
	s.status = h.status
	return s.put(m)
}

// put sends m and counts it.
func (s *Stream) put(m *message) error {
	size := int64(len(m.data))
	err := s.send(m)
	if err == nil {
		s.size += size
	}
	return err
}

// Status is the answer's so far, 0 without one; it is the handler's to ask.
func (s *Stream) Status() int { return s.status }

// Size is how much of the answer's body has been sent.
func (s *Stream) Size() int64 { return s.size }

// Begin sends the head of an answer. length is -1 if it is not known; end says
// that there is nothing else.
func (s *Stream) Begin(status int, fields invoke.Fields, length int64, end bool) error {
	return s.sayHead(&answerHead{status, fields, length}, &message{end: end})
}

// Reply sends a whole answer that was made here, in one write if the client's
// window lets it.
func (s *Stream) Reply(status int, fields invoke.Fields, body []byte) error {
	length := int64(len(body))
	if s.head.method == "HEAD" {
		body = nil
	}
	return s.sayHead(&answerHead{status, fields, length}, &message{data: body, end: true})
}

// Write sends a piece of the answer's body.
func (s *Stream) Write(p []byte) (int, error) {
	if err := s.put(&message{data: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}

// End ends the answer, with trailers if there are any.
func (s *Stream) End(trailers invoke.Fields) error {
	return s.send(&message{trailers: sendable(trailers), end: true})
}

// Reset breaks the exchange off: the client must not take what it has for an
// answer.
func (s *Stream) Reset(code http2.ErrCode) { s.reset(code, &Error{Code: code, Err: errFinished}) }

// sendable is fields without lines that cannot be sent.
func sendable(fields invoke.Fields) invoke.Fields {
	if checkFields(fields) == "" {
		return fields
	}
	kept := make(invoke.Fields, 0, len(fields))
	for i := range fields {
		if checkFields(fields[i:i+1]) == "" {
			kept = append(kept, fields[i])
		}
	}
	return kept
}

// Answer sends a, whose body it closes: head, body and trailers in one write if
// they are there, else the head at once and each piece as it comes. If the
// body breaks off, the answer ends with the trailers that cut makes of the
// error, or, if there are none, the exchange is reset. That error is returned,
// or the one of a client that is gone. cut may be nil.
func (s *Stream) Answer(a *invoke.Answer, cut func(error) invoke.Fields) error {
	defer func() { _ = a.Body.Close() }() // what counts is what was read
	h := &answerHead{a.Status, a.Fields, a.Length}
	if s.head.method == "HEAD" || a.Status == 204 || a.Status == 304 {
		return s.sayHead(h, &message{end: true})
	}
	rest, trailers, ok := invoke.Complete(a.Body)
	m := &message{data: rest, trailers: sendable(trailers), end: ok}
	if !ok && a.Fields.Has("grpc-status") {
		// gRPC's answer without a message: it has to stay one frame.
		return s.copyBody(a.Body, h, cut)
	}
	if err := s.sayHead(h, m); err != nil || ok {
		return err
	}
	return s.copyBody(a.Body, nil, cut)
}

// copyBody sends body, with h before its first piece unless h is nil.
func (s *Stream) copyBody(body invoke.Body, h *answerHead, cut func(error) invoke.Fields) error {
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	for {
		m, err := nextPiece(body, buf[:])
		if err != nil && cut != nil {
			m.trailers = sendable(cut(err))
			m.end = len(m.trailers) > 0
		}
		if sent := s.sayPiece(h, &m); sent != nil {
			return sent
		}
		h = nil
		if m.end {
			return err
		}
		if err != nil {
			s.Reset(http2.ErrCodeInternal)
			return err
		}
	}
}

func (s *Stream) sayPiece(h *answerHead, m *message) error {
	switch {
	case h != nil:
		return s.sayHead(h, m)
	case len(m.data) > 0 || m.end:
		return s.put(m)
	}
	return nil
}
