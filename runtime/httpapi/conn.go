package httpapi

import (
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/rawsock"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// lingerTime bounds the wait for a client to take what was said before the
// connection ends with bytes of it unread: a reset would destroy the answer.
const lingerTime = 500 * time.Millisecond

// poison stands in for the rest of a head that framing refused: net/http
// answers it with 400 and closes, in the right place of a pipeline. A body that
// is refused just ends too early.
const poison = "\x00\r\n\r\n"

// listener bounds the open connections; accepting waits while there are too
// many. Closing it closes those too that nothing has come from yet, such as
// browsers open ahead: net/http waits for them as if a request were under way.
type listener struct {
	net.Listener
	slots chan struct{}
	done  chan struct{}
	once  sync.Once

	mu     sync.Mutex // guards what follows
	silent map[*conn]struct{}
	closed bool
}

// newListener takes a slot for each open connection, and one for the accept that
// waits; slots may be shared with other listeners.
func newListener(ln net.Listener, slots chan struct{}) *listener {
	return &listener{
		Listener: ln, slots: slots, done: make(chan struct{}), silent: make(map[*conn]struct{}),
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	accepted, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	c := &conn{Conn: rawsock.Wrap(accepted), l: l}
	if !l.open(c) {
		_ = c.Close() // nobody serves it any more
		return nil, net.ErrClosed
	}
	return c, nil
}

// open notes a connection that nothing has come from yet.
func (l *listener) open(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.silent[c] = struct{}{}
	}
	return !l.closed
}

// spoke notes that something has come.
func (l *listener) spoke(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.silent, c)
}

// release makes room for another connection.
func (l *listener) release(c *conn) {
	l.spoke(c)
	<-l.slots
}

func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	err := l.Listener.Close()
	l.mu.Lock()
	l.closed = true
	silent := slices.Collect(maps.Keys(l.silent))
	l.mu.Unlock()
	for _, c := range silent {
		_ = c.Close() // nothing was asked on it
	}
	return err
}

// A conn is a client's connection. Its Read is used by one goroutine at a
// time, as net/http does.
type conn struct {
	net.Conn
	l     *listener
	spoke bool // something has come

	framing framing
	held    []byte // read, but not to be passed on before the next Read
	bad     string // what is left of the poison
	refused bool

	ended  atomic.Bool // Read says EOF from now on
	tunnel atomic.Bool // what is read is no HTTP any more
	linger atomic.Bool // Close waits for the client to take the answer
	closed sync.Once

	asked sync.Once
	deny  *apperr.Error

	goodHost string        // the last host name that was ours
	last     invoke.Target // the last target that was called
}

// SyscallConn is the connection as the system has it, for the fast engine.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	sys, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return sys.SyscallConn()
}

// target is invoke.ParseTarget, which most connections ask for one app only.
func (c *conn) target(id string) (invoke.Target, error) {
	if id != "" && id == c.last.Given {
		return c.last, nil
	}
	target, err := invoke.ParseTarget(strings.Clone(id)) // id is a part of a whole head
	if err == nil {
		c.last = target
	}
	return target, err
}

// denyUser returns why this client may not connect. It asks the system once.
func (c *conn) denyUser() *apperr.Error {
	c.asked.Do(func() { c.deny = judgeUser(c.Conn) })
	return c.deny
}

func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.refused {
		return c.readPoison(p)
	}
	if c.ended.Load() {
		return 0, io.EOF
	}
	if len(c.held) > 0 {
		return c.pass(p, copy(p, c.held), true)
	}
	n, err := c.Conn.Read(p)
	if n > 0 && !c.spoke {
		c.spoke = true
		c.l.spoke(c)
	}
	if c.ended.Load() {
		return 0, io.EOF
	}
	if n == 0 || c.tunnel.Load() {
		return n, err
	}
	return c.pass(p, n, false)
}

// pass gives on what framing lets through of the n bytes in p.
func (c *conn) pass(p []byte, n int, fromHeld bool) (int, error) {
	if c.tunnel.Load() {
		c.held = c.held[n:]
		return n, nil
	}
	ok, v := c.framing.feed(p[:n])
	switch {
	case fromHeld:
		c.held = c.held[ok:]
	case ok < n:
		c.held = append([]byte(nil), p[ok:n]...)
	}
	if v == refused {
		c.refused, c.held = true, nil
		if c.framing.state == inHead {
			c.bad = poison
		}
		c.linger.Store(true)
	}
	if ok == 0 {
		return c.Read(p)
	}
	return ok, nil
}

func (c *conn) readPoison(p []byte) (int, error) {
	n := copy(p, c.bad)
	c.bad = c.bad[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// stopReading ends this direction, a Read under way included: nothing the
// client still sends is taken for another request.
func (c *conn) stopReading() {
	c.ended.Store(true)
	c.linger.Store(true)
	_ = c.SetReadDeadline(time.Unix(1, 0)) // a connection that is closed already reads nothing either
}

// becomeTunnel passes everything from now on.
func (c *conn) becomeTunnel() { c.tunnel.Store(true) }

// CloseWrite ends our direction.
func (c *conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

func (c *conn) Close() error {
	err := net.ErrClosed
	c.closed.Do(func() {
		if c.linger.Load() {
			c.lingerClose()
		}
		err = c.Conn.Close()
		c.l.release(c)
	})
	return err
}

// lingerClose says that we are done and drops what still comes, for a while.
func (c *conn) lingerClose() {
	if c.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.Conn, 1<<20)) // only its end is of interest
}
