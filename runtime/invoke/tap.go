package invoke

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
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

// A Tap reads the calls at the app's side of a sidecar: what the own app sent
// and got as a caller, what it was given and said as a callee.
type Tap interface {
	// Want returns how many bytes of each body are to be kept for Seen, or a
	// negative number if the call is of no interest. It must not block or keep
	// the call.
	Want(side Side, c *Call) int
	// Seen gets a call once it is over. The record is shared with other
	// readers and must not be changed; its bodies hold as much as the reader
	// that wants most of them asked for. It must not block for long.
	Seen(r *Record)
}

// Taps are the readers of one sidecar's calls, which come and go while it runs.
// While there are none a call costs nothing more: no allocation and no copy.
// The zero value has none. It is safe for concurrent use.
type Taps struct {
	readers atomic.Pointer[[]*reader] // nil without readers; replaced whole
	mu      sync.Mutex                // held by who replaces it
}

type reader struct{ Tap }

// Attach makes tap see the calls that begin from now on, until detach is
// called. What it began to see it sees to its end.
func (t *Taps) Attach(tap Tap) (detach func()) {
	one := &reader{tap}
	t.change(func(all []*reader) []*reader { return append(all, one) })
	return func() {
		t.change(func(all []*reader) []*reader {
			return slices.DeleteFunc(all, func(r *reader) bool { return r == one })
		})
	}
}

func (t *Taps) change(f func([]*reader) []*reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*reader
	if now := t.readers.Load(); now != nil {
		all = slices.Clone(*now)
	}
	if all = f(all); len(all) == 0 {
		t.readers.Store(nil)
		return
	}
	t.readers.Store(&all)
}

// A Record is one call as its readers see it.
type Record struct {
	Side   Side
	Target Target
	Caller string // SPIFFE ID
	Verb   string
	// Path is the target that the app gets. Asked is the one that the client
	// wrote at a door.
	Path, Asked string
	// Major is the HTTP version of who called.
	Major int
	// Request and Answer are the heads' lines as the app sent or got them.
	Request, Answer Fields
	// Trailers are the lines behind the answer's body; nil if it was not read to
	// its end.
	Trailers Fields
	// RequestBody and AnswerBody are the first bytes, of a tunnel too; the sizes
	// count all that were read, or were there to be sent.
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

// TapStage shows calls to taps; for nil it is the handler itself.
func TapStage(side Side, taps *Taps) Stage {
	return func(next Handler) Handler {
		if taps == nil {
			return next
		}
		return HandlerFunc(func(ctx context.Context, c *Call) (*Answer, error) {
			readers := taps.readers.Load()
			if readers == nil {
				return next.Serve(ctx, c)
			}
			o := newObservation(*readers, side, c)
			if o == nil {
				return next.Serve(ctx, c)
			}
			return o.serve(ctx, c, next)
		})
	}
}

// An observation is one call under way. Both bodies may be read at once.
type observation struct {
	readers []Tap
	limit   int
	timing  *Timing

	mu     sync.Mutex // guards what follows
	record *Record    // nil once it was given away
}

// newObservation asks who wants to see c; nil if nobody does.
func newObservation(readers []*reader, side Side, c *Call) *observation {
	var o *observation
	for _, r := range readers {
		limit := r.Want(side, c)
		if limit < 0 {
			continue
		}
		if o == nil {
			o = &observation{}
		}
		o.readers = append(o.readers, r.Tap)
		o.limit = max(o.limit, limit)
	}
	if o == nil {
		return nil
	}
	o.record = &Record{
		Side: side, Target: c.Target, Verb: c.Verb, Path: c.Path, Asked: c.Asked, Major: c.Major,
		Request: c.Fields.Clone(), Began: time.Now(),
	}
	return o
}

func (o *observation) serve(ctx context.Context, c *Call, next Handler) (*Answer, error) {
	if c.Body != nil {
		c.Body = &seenBody{Body: c.Body, seen: seen{see: o.request}}
	}
	if c.Timing == nil {
		c.Timing = new(Timing)
	}
	o.timing = c.Timing
	answer, err := next.Serve(ctx, c)
	o.mu.Lock()
	o.record.Caller = c.Caller.String()
	if err != nil {
		o.record.Err = apperr.From(err)
		o.record.Attempts = o.record.Err.Attempts
		o.mu.Unlock()
		o.finish()
		return nil, err
	}
	o.record.Head, o.record.Status = time.Now(), answer.Status
	o.record.Answer = answer.Fields.Clone()
	o.record.Instance, o.record.Attempts = answer.Instance, answer.Attempts
	o.mu.Unlock()
	answer.Body = &seenBody{Body: answer.Body, seen: seen{see: o.answer}, ended: o.trailers, closed: o.finish}
	if answer.Upgraded != nil {
		answer.Upgraded = seenTunnel{WriteHalf: answer.Upgraded, see: o.request}
	}
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

func (o *observation) trailers(fields Fields) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.record != nil {
		o.record.Trailers = fields.Clone()
	}
}

func (o *observation) keep(kept, p []byte) []byte {
	return append(kept, p[:min(len(p), o.limit-len(kept))]...)
}

func (o *observation) finish() {
	o.mu.Lock()
	r := o.record
	o.record = nil
	o.mu.Unlock()
	if r == nil {
		return
	}
	r.Ended, r.Timing = time.Now(), *o.timing
	for _, tap := range o.readers {
		tap.Seen(r)
	}
}
