package app

import (
	"bufio"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A connection that is taken the moment it becomes idle belongs to its call
// alone: the time an idle one may wait must not end a slow or streaming answer.
func TestATakenConnectionHasNoDeadlineOfItsIdleTime(t *testing.T) {
	t.Parallel()
	p := newPool(newPlace(Config{Port: 1}), new(crew))
	ours, apps := net.Pipe()
	defer func() { _ = apps.Close() }()
	watched := &deadlines{Conn: ours, reading: make(chan struct{})}
	p.open = 1
	p.put(&conn{Conn: watched, br: bufio.NewReader(watched), spot: p.place.spot()})
	c, _, err := p.pick(idleLimit)
	if c == nil || err != nil {
		t.Fatalf("took %v, %v", c, err)
	}
	_ = c.SetReadDeadline(time.Time{}) // as usable does
	<-watched.reading
	if at := watched.last(); !at.IsZero() {
		t.Errorf("the answer has to come within %v", time.Until(at).Round(time.Second))
	}
	_ = apps.Close()
	<-c.watched
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
