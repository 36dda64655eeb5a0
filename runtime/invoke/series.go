package invoke

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/resiliency"
)

// dispatch makes a call once, or as often as the policy of its target says.
func (i *Invoker) dispatch(ctx context.Context, c *Call) (*Answer, error) {
	if i.policies == nil {
		return i.send(ctx, newAttempts(i, c))
	}
	name := c.Target.policyName()
	p := i.policies(name)
	if p == nil {
		return i.send(ctx, newAttempts(i, c))
	}
	method, _, _ := strings.Cut(strings.TrimPrefix(c.Path, "/"), "?")
	s := &series{
		i: i, c: c, policy: p, run: p.ForApp(name, method),
		stream: exchangesGRPC(c.Fields) && strings.EqualFold(c.Fields.Get("Dapr-Stream"), "true"),
	}
	return s.serve(ctx)
}

// policyName is what a policy calls the target.
func (t Target) policyName() string {
	switch {
	case t.App == "":
		return t.Given
	case t.Namespace != "":
		return t.App + "." + t.Namespace
	default:
		return t.App
	}
}

// exchangesGRPC reports whether the fields are those of gRPC.
func exchangesGRPC(f Fields) bool {
	return strings.HasPrefix(f.Get("Content-Type"), "application/grpc")
}

// A series is one call under a policy: retry( breaker( timeout( attempts))).
// What provably did not reach the app is moved within an attempt of the policy,
// and does not count as a failure of one; what is repeated without being told is
// too, unless the policy says what is repeated.
type series struct {
	i      *Invoker
	c      *Call
	policy *resiliency.Policy
	run    *resiliency.Run
	// stream is true if the caller says that the call is a stream: the policy is
	// for what comes before the app has it.
	stream bool

	body      replays // nil without a body
	kept      kept
	n         int    // attempts, moves included
	last      string // the instance that had the call last
	maybe     bool   // an attempt may have reached the app
	committed atomic.Bool
	reached   atomic.Bool
}

func (s *series) serve(ctx context.Context) (*Answer, error) {
	switch {
	case s.c.Body == nil:
	case s.kept.keep(s.c.Body):
		s.body = &s.kept
	default:
		s.body = newReplay(s.c.Body, s.c.Length, s.i.replays)
	}
	answer, failed := s.repeat(ctx)
	if failed == nil {
		return answer, nil
	}
	if s.body != nil {
		_ = s.body.close() // the call's own error is the one to report
	}
	told := *failed
	if s.n > 1 {
		told.Attempts = s.n
	}
	if s.maybe { // that the last attempt reached nobody is no proof that an earlier one did not
		told.Reached = apperr.ReachedMaybe
	}
	return nil, &told
}

func (s *series) repeat(ctx context.Context) (*Answer, *apperr.Error) {
	for {
		if err := s.run.Begin(); err != nil {
			return nil, s.rejected(err)
		}
		answer, failed, left := s.once(ctx)
		again := s.run.End(s.outcome(ctx, answer, failed))
		if !again {
			if failed != nil {
				return nil, failed
			}
			return s.answered(answer, left), nil
		}
		if answer != nil {
			_ = answer.Body.Close() // another one is to come
			left()
		}
		if err := s.run.Wait(ctx); err != nil {
			if failed == nil {
				failed = &apperr.Error{Reason: apperr.Cancelled, What: "the call ended", Dapr: "context canceled"}
			}
			return nil, failed
		}
	}
}

// once makes one attempt of the policy. left must be called when its answer is
// not needed any more.
func (s *series) once(ctx context.Context) (answer *Answer, failed *apperr.Error, left func()) {
	tried := *s.c
	tried.Fields = s.c.Fields.Clone() // an own app may change them
	if s.body != nil {
		tried.Body = s.body.attempt()
	}
	if s.c.Informational != nil {
		tried.Informational = func(status int, fields Fields) error {
			s.committed.Store(true)
			return s.c.Informational(status, fields)
		}
	}
	limited, cancel := context.WithCancelCause(ctx)
	a := newAttempts(s.i, &tried)
	a.asWritten, a.avoid = s.policy.Retries(), s.last
	limit := newLimit(s.policy.Timeout(), &a.progress, cancel)
	a.tellReached = func() {
		if s.stream {
			limit.stop()
		}
		if !s.reached.Swap(true) && s.c.Reached != nil {
			s.c.Reached()
		}
	}
	answer, err := s.i.send(limited, a)
	if limit.stop() {
		s.run.TimedOut()
	}
	s.n += max(a.n, 1)
	s.last = a.name
	if err != nil {
		cancel(nil)
		if tried.Body != nil {
			_ = tried.Body.Close() // send's error is the one to report
		}
		failed = apperr.From(err)
		s.maybe = s.maybe || failed.Reached == apperr.ReachedMaybe
		return nil, failed, nil
	}
	s.maybe = true
	return answer, nil, func() { cancel(nil) }
}

// outcome is what an attempt means to the policy.
func (s *series) outcome(ctx context.Context, answer *Answer, failed *apperr.Error) resiliency.Outcome {
	o := resiliency.Outcome{Final: s.committed.Load() || s.body != nil && !s.body.possible() || ctx.Err() != nil}
	if failed != nil {
		o.Failed = true
		o.Final = o.Final || s.stream && s.reached.Load()
		switch failed.Reason {
		case apperr.Cancelled, apperr.TargetMissing, apperr.TargetInvalid, apperr.MethodRefused, apperr.BodyTooLarge,
			apperr.HeadTooLarge, apperr.AccessDenied, apperr.NamespaceDenied, apperr.PathAmbiguous:
			o.Final, o.Ignored = true, true // it is the call that cannot be, wherever it goes
		case apperr.PeerUnreachable, apperr.PeerGone, apperr.Refused:
			o.Peer = true
		default:
		}
		return o
	}
	o.Final = o.Final || s.stream
	if !exchangesGRPC(answer.Fields) {
		o.Answered, o.Status = resiliency.HTTP, answer.Status
		o.Failed = answer.Upgraded == nil && (answer.Status < 200 || answer.Status >= 400)
		return o
	}
	status := answer.Fields.Get(fieldGRPCStatus)
	if status == "" {
		// What has begun without a status is the caller's, unless it is complete.
		_, trailers, _ := Complete(answer.Body)
		status = trailers.Get(fieldGRPCStatus)
	}
	if status != "" && status != "0" {
		o.Failed, o.Answered = true, resiliency.GRPC
		o.Status, _ = strconv.Atoi(status) // a status that is no number is 0, which no list has
	}
	return o
}

const fieldGRPCStatus = "Grpc-Status"

// rejected is the error of a call that a circuit breaker did not let pass.
func (s *series) rejected(why error) *apperr.Error {
	e := &apperr.Error{
		Reason: apperr.CircuitOpen, What: "no call is let through to " + s.c.Target.name(), Dapr: why.Error(),
		Cause: s.policy.Breaker(), Err: why,
	}
	if !s.maybe {
		e.Reached = apperr.ReachedNo
	}
	return e
}

// answered makes the answer the caller's.
func (s *series) answered(answer *Answer, left func()) *Answer {
	answer.Attempts = s.n
	if s.n > 1 {
		answer.Fields.Set(FieldAttempts, strconv.Itoa(s.n))
	}
	answer.Body = &seriesBody{Body: answer.Body, of: s, left: left}
	return answer
}

// seriesBody is the body of the answer to a call under a policy: its Close ends
// what the call holds.
type seriesBody struct {
	Body
	of   *series
	left func()
}

func (b *seriesBody) Whole() ([]byte, bool) { return Whole(b.Body) }

func (b *seriesBody) Complete() ([]byte, Fields, bool) { return Complete(b.Body) }

func (b *seriesBody) Close() error {
	err := b.Body.Close()
	b.left()
	if b.of.body != nil {
		_ = b.of.body.close() // the answer is complete or given up
	}
	return err
}

// timeUp is why an attempt was ended by a policy.
type timeUp struct{ *resiliency.Timeout }

func (t timeUp) Error() string { return t.String() }

// limitLook is how often a limit is looked at while its time stands still.
const limitLook = 10 * time.Millisecond

// A limit is a policy's time-out of one attempt, until its answer's head is
// there. The time that an app takes to come or to get ready does not count.
type limit struct {
	timeout  *resiliency.Timeout
	progress *progress
	cancel   context.CancelCauseFunc

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	over  bool
	up    bool
}

func newLimit(t *resiliency.Timeout, p *progress, cancel context.CancelCauseFunc) *limit {
	l := &limit{timeout: t, progress: p, cancel: cancel}
	if t != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.timer = time.AfterFunc(t.After, l.look)
	}
	return l
}

func (l *limit) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	if left := l.timeout.After - l.progress.counted(); left > 0 {
		l.timer = time.AfterFunc(max(left, limitLook), l.look)
		return
	}
	l.over, l.up = true, true
	l.cancel(timeUp{l.timeout})
}

// stop ends the limit, and reports whether its time was up.
func (l *limit) stop() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	l.over = true
	return l.up
}

// again is a body that a series keeps, for the attempts within one of its own.
type again struct {
	r     *replay
	views []*replayView
	used  int
}

func (a *again) attempt() Body {
	if a.used++; a.used > 1 {
		a.views = append(a.views, &replayView{r: a.r})
	}
	return a.views[len(a.views)-1]
}

func (a *again) possible() bool { return a.r.possible() }

func (a *again) close() error {
	for _, v := range slices.Backward(a.views) {
		_ = v.Close() // the series closes what is behind it
	}
	return nil
}
