package app

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A phase is what is known of the app's readiness.
type phase uint8

const (
	starting   phase = iota // never ready yet
	building                // it has no process yet
	ready                   // its port is open, as far as we know
	closed                  // its port was open and is not; its process lives
	restarting              // it is being replaced
	client                  // it has no port
	undecided               // it has several
	mistaken                // it listens, but not where we were told
	exited                  // its process has ended, and its instance leaves
	failed                  // it has no process, and a person must do something
	unwell                  // its port is open, and it does not say that it is well
)

// states are the phases as other instances see them. An app whose calls are
// answered at once, if only with an error, has nothing to be waited for.
var states = [...]discovery.State{
	starting: discovery.Starting, building: discovery.Starting, ready: discovery.Ready, closed: discovery.Restarting,
	restarting: discovery.Restarting, client: discovery.Ready, undecided: discovery.Starting,
	mistaken: discovery.Starting, exited: discovery.Draining, failed: discovery.Unhealthy, unwell: discovery.Unhealthy,
}

// errHoldOver says that a call waited as long as it may, errDrained that the app
// has been drained before it got the call.
var (
	errHoldOver = errors.New("held for as long as it may be")
	errDrained  = errors.New("drained")
)

// gate lets calls pass while the app is ready and holds them in the order they
// came while it is not.
type gate struct {
	limits    HoldLimits
	startHold time.Duration
	command   bool
	changed   func(discovery.State) // called without the lock
	asked     chan struct{}         // rings when the app is wanted and not ready

	mu    sync.Mutex // guards what follows
	phase phase
	deny  *apperr.Error // why no call can be taken; nil: calls wait
	since time.Time     // when the app's process was started
	queue []*ticket     // by number
	last  uint64
	bytes int64
	// turn is the released call that has not been written yet: the next one is
	// released after it, so that the app sees them in their order.
	turn     *ticket
	heads    int // calls whose answer's head is not there
	draining bool
	refusing bool
	drained  chan struct{}
	calm     chan struct{} // closed once the app has no call to answer; nil if nobody waits for that
	told     discovery.State
}

// A ticket is a call's place in the queue. It keeps its number when the app
// goes away again before the call was written.
type ticket struct {
	call     *invoke.Call
	number   uint64
	cost     int64
	only     bool
	deadline time.Time // zero until the call had to wait
	answer   chan error
}

func newGate(cfg Config, changed func(discovery.State)) *gate {
	return &gate{
		limits: cfg.Hold, startHold: cfg.StartHold, command: cfg.Command, changed: changed,
		asked: make(chan struct{}, 1), since: time.Now(), drained: make(chan struct{}), told: discovery.Starting,
	}
}

// begin counts a call in. With through it need not enter: the app takes it.
func (g *gate) begin() (through bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusing {
		return false, errDrained
	}
	g.heads++
	return g.isFree(), nil
}

// isFree reports whether a call need not wait. The lock is held.
func (g *gate) isFree() bool { return g.phase == ready && len(g.queue) == 0 && g.turn == nil }

// answered counts a call out: its head is there, or it failed.
func (g *gate) answered() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.heads--
	g.settle()
}

// settle ends the drain once no call waits for its answer's head, and a wait for
// quiet once the app has none of those that do. The lock is held.
func (g *gate) settle() {
	if g.calm != nil && g.isCalm() {
		close(g.calm)
		g.calm = nil
	}
	if g.draining && !g.refusing && g.heads == 0 {
		g.refusing = true
		close(g.drained)
	}
}

// isCalm reports whether every call without an answer waits here. The lock is
// held.
func (g *gate) isCalm() bool { return g.heads == len(g.queue) }

// quiet waits until the app has no call whose answer's head is not there, or for
// ctx. One caller at a time.
func (g *gate) quiet(ctx context.Context) error {
	g.mu.Lock()
	if g.isCalm() {
		g.mu.Unlock()
		return nil
	}
	calm := make(chan struct{})
	g.calm = calm
	g.mu.Unlock()
	select {
	case <-calm:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enter returns when t's call may go to the app. If it had to wait it has the
// turn, and pass must be called.
func (g *gate) enter(ctx context.Context, t *ticket) error {
	g.mu.Lock()
	if g.isFree() {
		g.mu.Unlock()
		return nil
	}
	if err := g.admit(t); err != nil {
		g.mu.Unlock()
		return err
	}
	if t.number != 0 && !time.Now().Before(t.deadline) {
		g.mu.Unlock()
		return errHoldOver
	}
	g.insert(t)
	g.grant()
	g.settle()
	g.mu.Unlock()
	ring(g.asked)

	timer := time.NewTimer(time.Until(t.deadline))
	defer timer.Stop()
	select {
	case err := <-t.answer:
		return err
	case <-ctx.Done():
		return g.leave(t, callctx.Cause(ctx))
	case <-timer.C:
		return g.leave(t, errHoldOver)
	}
}

// admit says whether t may wait. The lock is held.
func (g *gate) admit(t *ticket) error {
	switch {
	case g.deny != nil:
		return g.deny
	case g.phase == ready: // it waits for others to go first
	case g.draining:
		return errDrained
	case !t.only:
		return refusal("this instance is not ready, and another may be")
	}
	if len(g.queue) >= g.limits.Calls {
		return errTooMany(g.limits)
	}
	if g.bytes+t.cost > g.limits.Bytes && g.weigh(t) > g.limits.Bytes {
		return errTooMuch(g.limits)
	}
	return nil
}

// weigh finds out anew what the calls that wait cost, since bodies that were on
// their way have come, and returns what they and t may take together: those of
// one line no more than it holds. The lock is held.
func (g *gate) weigh(t *ticket) (together int64) {
	type load struct{ bytes, most int64 }
	lines := map[any]load{}
	add := func(t *ticket) {
		head, body := holdCost(t.call)
		t.cost = head + body
		together += head
		if line, most := invoke.Line(t.call.Body); line != nil {
			lines[line] = load{lines[line].bytes + body, most}
			return
		}
		together += body
	}
	g.bytes = 0
	for _, waiting := range g.queue {
		add(waiting)
		g.bytes += waiting.cost
	}
	add(t)
	for _, l := range lines {
		together += min(l.bytes, l.most)
	}
	return together
}

// insert puts t into the queue at its place. The lock is held.
func (g *gate) insert(t *ticket) {
	if t.number == 0 {
		g.last++
		t.number = g.last
		t.answer = make(chan error, 1)
		t.deadline = g.deadline(time.Now())
	}
	at := len(g.queue)
	for at > 0 && g.queue[at-1].number > t.number {
		at--
	}
	g.queue = slices.Insert(g.queue, at, t)
	g.bytes += t.cost
}

// deadline is until when a call that comes now waits. A first start, which may
// compile, has its own, longer time as long as the process lives.
func (g *gate) deadline(now time.Time) time.Time {
	until := now.Add(g.limits.Wait)
	if (g.phase == starting || g.phase == building) && g.command {
		if start := g.since.Add(g.startHold); start.After(until) {
			return start
		}
	}
	return until
}

// leave takes t out of the queue because of why. If it was answered meanwhile,
// that counts, unless its caller has gone.
func (g *gate) leave(t *ticket, why error) error {
	g.mu.Lock()
	if at := slices.Index(g.queue, t); at >= 0 {
		g.drop(at)
		g.mu.Unlock()
		return why
	}
	g.mu.Unlock()
	if err := <-t.answer; err != nil {
		return err
	}
	if errors.Is(why, errHoldOver) {
		return nil
	}
	g.pass(t)
	return why
}

// drop removes the ticket at a place of the queue. The lock is held.
func (g *gate) drop(at int) {
	g.bytes -= g.queue[at].cost
	g.queue = slices.Delete(g.queue, at, at+1)
}

// pass gives the turn on: t's call has been written, or will not be.
func (g *gate) pass(t *ticket) {
	if t.answer == nil {
		return // it never waited
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.turn == t {
		g.turn = nil
		g.grant()
	}
}

// grant releases the next call if the app is ready. The lock is held.
func (g *gate) grant() {
	if g.phase != ready || g.turn != nil || len(g.queue) == 0 {
		return
	}
	g.turn = g.queue[0]
	g.drop(0)
	g.turn.answer <- nil
}

// set changes the phase. With a deny every call that waits fails with it.
func (g *gate) set(p phase, deny *apperr.Error) {
	g.mu.Lock()
	g.put(p, deny)
}

// move is set, unless the phase is no longer from.
func (g *gate) move(from, to phase, deny *apperr.Error) bool {
	g.mu.Lock()
	if g.phase != from {
		g.mu.Unlock()
		return false
	}
	g.put(to, deny)
	return true
}

// put changes the phase and releases the lock.
func (g *gate) put(p phase, deny *apperr.Error) {
	g.phase, g.deny = p, deny
	if deny != nil {
		g.fail(deny)
	}
	g.grant()
	g.tell()
}

// lost notes that the app's port is closed. Only a ready app can lose it.
func (g *gate) lost() {
	g.mu.Lock()
	if g.phase == ready {
		g.phase = closed
		ring(g.asked) // also if the call that found out does not wait
	}
	g.tell()
}

// started notes that a new process runs.
func (g *gate) started() {
	g.mu.Lock()
	g.phase, g.deny, g.since = starting, nil, time.Now()
	g.tell()
}

// fail ends every call that waits. The lock is held.
func (g *gate) fail(err error) {
	for _, t := range g.queue {
		t.answer <- err
	}
	g.queue, g.bytes = nil, 0
}

// tell releases the lock and reports the state if it is a new one.
func (g *gate) tell() {
	s := g.stateLocked()
	news := s != g.told
	g.told = s
	if news {
		g.changed(s) // only queues: order matters more than the lock
	}
	g.mu.Unlock()
}

func (g *gate) state() discovery.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stateLocked()
}

// held is how many calls wait.
func (g *gate) held() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue)
}

func (g *gate) stateLocked() discovery.State {
	if g.draining {
		return discovery.Draining
	}
	return states[g.phase]
}

// unanswered is how many calls have no head of an answer.
func (g *gate) unanswered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heads
}

// now is the phase and since when the app's process runs.
func (g *gate) now() (phase, time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.phase, g.since
}

// holding is how many calls wait.
func (g *gate) holding() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue)
}

func (g *gate) drain(ctx context.Context) error {
	g.mu.Lock()
	g.draining = true
	if g.phase != ready {
		g.fail(errDrained)
	}
	g.settle()
	g.tell()
	select {
	case <-g.drained:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.refusing {
		g.refusing = true
		close(g.drained)
	}
	return context.Cause(ctx)
}

// bufferedBody is what may lie in the mesh's window for a call whose body
// nobody reads yet.
const bufferedBody = 256 << 10

// holdCost is what a call may keep in memory while it waits: its head and its
// body.
func holdCost(c *invoke.Call) (head, body int64) {
	head = int64(len(c.Path) + len(c.Verb))
	for i := range c.Fields {
		head += int64(len(c.Fields[i].Name) + len(c.Fields[i].Value))
	}
	if n, all := invoke.Held(c.Body); all {
		return head, n
	}
	if c.Length >= 0 && c.Length < bufferedBody {
		return head, c.Length
	}
	return head, bufferedBody
}
