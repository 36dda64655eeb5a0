package app

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
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
	<-watched.reading
	if at := watched.last(); !at.IsZero() {
		t.Errorf("the answer has to come within %v", time.Until(at).Round(time.Second))
	}
	_ = apps.Close()
	<-c.idle.watched
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
