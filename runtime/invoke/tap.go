package invoke

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// A Side is which app's sidecar saw a call.
type Side string

// The sides.
const (
	AtCaller Side = "caller"
	AtCallee Side = "callee"
)

// A Tap sees the calls at the app's side of a sidecar: what the own app sent
// and got as a caller, what it was given and said as a callee.
type Tap interface {
	// Want returns how many bytes of each body are to be kept for Seen, or a
	// negative number if the call is of no interest. It must not block or keep
	// the call.
	Want(side Side, c *Call) int
	// Seen gets a call once it is over. The record is the tap's own.
	Seen(r *Record)
}

// A Record is one call as a Tap sees it.
type Record struct {
	Side   Side
	Target Target
	Caller string // SPIFFE ID
	Verb   string
	Path   string
	// Request and Answer are the heads' lines as the app sent or got them.
	Request, Answer Fields
	// RequestBody and AnswerBody are the first bytes; the sizes count all that
	// were read.
	RequestBody, AnswerBody []byte
	RequestSize, AnswerSize int64
	// Status is 0 if there was no answer; Err says why then.
	Status   int
	Err      *apperr.Error
	Instance string
	Attempts int
	// Began, Head and Ended are when the call came, when its answer's head was
	// there, and when it was over. Head is zero without an answer.
	Began, Head, Ended time.Time
	Timing             Timing
}

// TapStage is tap as a stage; without a tap it is the handler itself.
func TapStage(side Side, tap Tap) Stage {
	return func(next Handler) Handler {
		if tap == nil {
			return next
		}
		return HandlerFunc(func(ctx context.Context, c *Call) (*Answer, error) {
			limit := tap.Want(side, c)
			if limit < 0 {
				return next.Serve(ctx, c)
			}
			return observe(ctx, c, next, &observation{tap: tap, limit: limit, record: newRecord(side, c)})
		})
	}
}

func newRecord(side Side, c *Call) *Record {
	return &Record{
		Side: side, Target: c.Target, Verb: c.Verb, Path: c.Path,
		Request: c.Fields.Clone(), Began: time.Now(),
	}
}

// An observation is one call under way. Both bodies may be read at once.
type observation struct {
	tap   Tap
	limit int

	mu     sync.Mutex // guards what follows
	record *Record    // nil once it was given away
}

func observe(ctx context.Context, c *Call, next Handler, o *observation) (*Answer, error) {
	if c.Body != nil {
		c.Body = &seenBody{Body: c.Body, see: o.request}
	}
	if c.Timing == nil {
		c.Timing = new(Timing)
	}
	timing := c.Timing
	answer, err := next.Serve(ctx, c)
	o.mu.Lock()
	o.record.Caller = c.Caller.String()
	if err != nil {
		o.record.Err = apperr.From(err)
		o.record.Attempts = o.record.Err.Attempts
		o.mu.Unlock()
		o.finish(timing)
		return nil, err
	}
	o.record.Head, o.record.Status = time.Now(), answer.Status
	o.record.Answer = answer.Fields.Clone()
	o.record.Instance, o.record.Attempts = answer.Instance, answer.Attempts
	o.mu.Unlock()
	answer.Body = &seenBody{Body: answer.Body, see: o.answer, closed: func() { o.finish(timing) }}
	return answer, nil
}

func (o *observation) request(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.record != nil {
		o.record.RequestBody = o.keep(o.record.RequestBody, p)
		o.record.RequestSize += int64(len(p))
	}
}

func (o *observation) answer(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.record != nil {
		o.record.AnswerBody = o.keep(o.record.AnswerBody, p)
		o.record.AnswerSize += int64(len(p))
	}
}

func (o *observation) keep(kept, p []byte) []byte {
	return append(kept, p[:min(len(p), o.limit-len(kept))]...)
}

func (o *observation) finish(timing *Timing) {
	o.mu.Lock()
	r := o.record
	o.record = nil
	o.mu.Unlock()
	if r != nil {
		r.Ended, r.Timing = time.Now(), *timing
		o.tap.Seen(r)
	}
}

// A seenBody shows what is read from a Body.
type seenBody struct {
	Body
	see    func([]byte)
	closed func()
}

func (b *seenBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if n > 0 {
		b.see(p[:n])
	}
	return n, err
}

func (b *seenBody) Close() error {
	err := b.Body.Close()
	if b.closed != nil {
		b.closed()
	}
	return err
}

var _ io.ReadCloser = (*seenBody)(nil)
