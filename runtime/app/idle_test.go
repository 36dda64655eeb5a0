package app

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
)

// Where nothing is seen without reading, a connection that is taken the moment
// it becomes idle belongs to its call alone: the time an idle one may wait must
// not end a slow or streaming answer.
func TestATakenConnectionHasNoDeadlineOfItsIdleTime(t *testing.T) {
	t.Parallel()
	p := watching(newPlace(Config{Port: 1}))
	ours, apps := net.Pipe()
	defer func() { _ = apps.Close() }()
	watched := &deadlines{Conn: ours, reading: make(chan struct{})}
	p.open = 1
	p.put(newConn(watched, "", p.dialer.spot()))
	c, _, err := p.pick(idleLimit)
	if c == nil || err != nil {
		t.Fatalf("took %v, %v", c, err)
	}
	if !p.usable(c) {
		t.Fatal("the connection counts as closed")
	}
	within.Receive(t, watched.reading)
	if at := watched.last(); !at.IsZero() {
		t.Errorf("the answer has to come within %v", time.Until(at).Round(time.Second))
	}
	_ = apps.Close()
	within.Receive(t, c.idle.watched)
}

// watching is a pool of a system where a look shows nothing.
func watching(at *place) *pool {
	p := newPool(at, new(crew))
	p.looks = false
	return p
}

// deadlines remembers the last read deadline, and says when a read begins.
type deadlines struct {
	net.Conn
	once    sync.Once
	reading chan struct{}

	mu sync.Mutex
	at time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
	return nil
}

func (d *deadlines) last() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

func (d *deadlines) Read(p []byte) (int, error) {
	d.once.Do(func() { close(d.reading) })
	n, err := d.Conn.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}

// How long an idle connection is trusted follows from what the app was seen to
// do.
func TestTrustFollowsWhatTheAppDoes(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	began := time.Now()
	at := func(d time.Duration) time.Time { return began.Add(d) }
	var h habits
	trust := func(what string, now, strict, lax time.Duration) {
		t.Helper()
		if s, l := h.trusted(idleLimitStrict, at(now)), h.trusted(idleLimit, at(now)); s != strict || l != lax {
			t.Errorf("%s: trusted for %s, and %s where repeating is harmless; want %s and %s", what, s, l, strict, lax)
		}
	}
	trust("nothing known", 0, -1, idleLimit)
	h.open(idleness{since: at(0)}, at(25*ms))
	trust("one lived 25ms", 25*ms, idleTrusted, idleLimit)
	h.open(idleness{since: at(0)}, at(400*ms))
	trust("one lived 400ms", 400*ms, 25*ms, idleLimit)
	h.open(idleness{since: at(0)}, at(time.Minute))
	trust("one lived a minute", time.Minute, idleLimitStrict, idleLimit)

	closed := time.Minute + 100*ms
	h.closed(idleness{since: at(time.Minute), quiet: at(closed - 20*ms)}, at(closed))
	trust("closed after 80 to 100ms", closed, 5*ms, 20*ms)
	h.open(idleness{since: at(closed + ms)}, at(closed+400*ms))
	trust("one closed late", closed+400*ms, 5*ms, 20*ms)
	h.open(idleness{since: at(closed - ms)}, at(closed+5*time.Second))
	trust("one from before", closed+5*time.Second, 5*ms, 20*ms)
	h.open(idleness{since: at(closed + ms)}, at(closed+2*time.Second))
	trust("one lived far longer since", closed+2*time.Second, idleLimitStrict, idleLimit)

	h.closed(idleness{since: at(closed), quiet: at(closed)}, at(closed+40*ms))
	trust("closed before it was looked at", closed+40*ms, -1, 10*ms/idleMargin)
	h.open(idleness{since: at(closed + 41*ms)}, at(closed+300*ms))
	trust("one closed late, of those that are closed at once", closed+300*ms, -1, 10*ms/idleMargin)
	trust("long ago", closed+2*forgetAfter, idleLimitStrict, idleLimit)
	h.open(idleness{since: at(closed + 41*ms)}, at(closed+400*ms))
	trust("one lived far longer than what is closed at once", closed+400*ms, idleLimitStrict, idleLimit)
}
