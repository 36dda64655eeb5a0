package daprmesh

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	commonv1 "github.com/dapr/dapr/pkg/proto/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// A sender is a stream of gRPC messages made of a first message and a body: it
// is read as bytes, and reads the body only when its bytes are asked for.
type sender struct {
	from  invoke.Body // nil: there is only the first message
	frame func(p *commonv1.StreamPayload) proto.Message
	buf   []byte // framed, still to be read
	data  []byte
	seq   uint64
	ended bool
}

// newSender begins with first, which stands alone so that the peer can begin
// before the body comes.
func newSender(first proto.Message, from invoke.Body, frame func(p *commonv1.StreamPayload) proto.Message) (*sender, error) {
	message, err := proto.Marshal(first)
	if err != nil {
		return nil, err
	}
	return &sender{from: from, frame: frame, buf: rpc.Frame(message), ended: from == nil}, nil
}

// Read implements io.Reader.
func (s *sender) Read(p []byte) (int, error) {
	for len(s.buf) == 0 {
		if s.ended {
			return 0, io.EOF
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	return n, nil
}

// next frames the next piece of the body.
func (s *sender) next() error {
	if s.data == nil {
		s.data = make([]byte, payloadSize)
	}
	n, err := s.from.Read(s.data)
	s.ended = errors.Is(err, io.EOF)
	if err != nil && !s.ended {
		return err
	}
	if n == 0 {
		return nil
	}
	message, err := proto.Marshal(s.frame(&commonv1.StreamPayload{Data: s.data[:n], Seq: s.seq}))
	if err != nil {
		return err
	}
	s.seq++
	s.buf = rpc.Frame(message)
	return nil
}

// Close implements io.Closer.
func (s *sender) Close() error {
	if s.from == nil {
		return nil
	}
	return s.from.Close()
}

// Trailers implements invoke.Body: gRPC requests have none.
func (s *sender) Trailers() invoke.Fields { return nil }

// A receiver reads the payloads of a stream of messages as a body.
type receiver struct {
	// next returns the next message's payload; io.EOF at the end.
	next   func() (*commonv1.StreamPayload, error)
	close  func() error
	seq    uint64
	rest   []byte
	failed error
	// fault is how the sender broke the protocol; whoever does not read may ask.
	fault atomic.Pointer[error]
}

// errSequence is Dapr's word for payloads in disorder.
var errSequence = errors.New("invalid sequence number received")

// take notes a payload that has come.
func (r *receiver) take(p *commonv1.StreamPayload) error {
	if p == nil {
		return nil
	}
	if p.GetSeq() != r.seq {
		r.fault.Store(&errSequence)
		return errSequence
	}
	r.seq++
	r.rest = p.GetData()
	return nil
}

// isEmpty reports whether c has no body, where Dapr does not say so and there is
// none as a rule: the next message tells.
func (r *receiver) isEmpty(c *invoke.Call) bool {
	switch c.Verb {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions, http.MethodTrace:
	default:
		return false
	}
	if c.Length > 0 || len(r.rest) > 0 {
		return false
	}
	payload, err := r.next()
	if err == nil {
		err = r.take(payload)
	}
	r.failed = err
	return errors.Is(err, io.EOF)
}

// Read implements io.Reader.
func (r *receiver) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.failed != nil {
			return 0, r.failed
		}
		payload, err := r.next()
		if err == nil {
			err = r.take(payload)
		}
		r.failed = err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (r *receiver) Close() error { return r.close() }

// Trailers implements invoke.Body: the protocol has none.
func (r *receiver) Trailers() invoke.Fields { return nil }
