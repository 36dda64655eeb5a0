package h2

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// A role is what a server and a client do differently with a connection. Its
// methods are called by the reader.
type role interface {
	// headers handles the complete block of a stream that may be new.
	headers(b *block) error
	// idle reports whether a stream has not begun. The lock is held.
	idle(id uint32) bool
	// tookBack is called when the peer has reset a stream.
	tookBack() error
	// forgot is called when a stream has ended. The lock is held.
	forgot()
	// ponged is called when the peer has answered a ping.
	ponged(data [8]byte)
	// settled is called when the peer's settings have come.
	settled()
	// left is called when the peer takes no streams above last any more.
	left(last uint32, code http2.ErrCode)
}

// An owner is what a server and a client do differently with a stream.
type owner interface {
	// wake is called once for all that has come for the stream, before the
	// reader waits for more.
	wake()
	// headless reports whether a body would come before its head. Only the
	// reader asks.
	headless() bool
	// broken is called when the stream has been reset or its connection has
	// ended. It must not wait.
	broken(e *Error)
}

// A conn is a connection and the streams on it.
type conn struct {
	nc   net.Conn
	role role

	// What follows is the reader's.
	src     source
	fr      *http2.Framer
	block   *block
	due     []*stream // to be woken before the reader waits
	greeted bool
	armed   bool // a read deadline is set

	unpaid   atomic.Int64 // bytes received and not given back
	held     atomic.Int64 // of them, bytes waiting to be read
	withheld atomic.Int64 // of the connection's window, given back when they have been
	returned atomic.Int64 // of the connection's window, to be given back
	ended    atomic.Bool

	mu      sync.Mutex // guards what follows
	err     error      // why the connection has ended
	broken  error      // why nothing can be written any more
	out     []byte     // what is written next; begins at a frame
	spare   []byte     // the buffer written last
	queued  uint64     // bytes appended since the connection began
	taken   uint64     // bytes given to the connection
	writing bool
	quiet   sync.Cond // writing has become false
	polite  bool      // we said why we go
	stuck   *time.Timer
	enc     *encoder

	streams    map[uint32]*stream
	blocked    []*stream // streams that wait to send, first come first
	window     int64     // what the peer takes on the connection
	peerWindow int64     // what it takes on a new stream
	peerMax    uint32    // streams it takes
	lastPeer   uint32    // the highest stream of the peer that was taken
	leaving    bool      // no new streams
	parting    bool      // the connection ends with its last stream
	useless    int       // frames in a row that served nothing
	tokens     float64
	tokensAt   time.Time
}

func newConn(nc net.Conn, r role) *conn {
	c := &conn{
		nc: nc, role: r, block: newBlock(), enc: newEncoder(),
		streams: make(map[uint32]*stream), window: 65535, peerWindow: 65535,
		peerMax: assumedStreams, tokens: resetBurst,
	}
	c.quiet.L = &c.mu
	c.src = source{nc: nc, before: c.beforeRead}
	c.fr = http2.NewFramer(nil, &c.src)
	c.fr.SetReuseFrames()
	c.fr.SetMaxReadFrameSize(frameLimit)
	return c
}

// greet queues our settings. c.mu is held.
func (c *conn) greet(settings ...http2.Setting) {
	settings = append(
		settings,
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: headLimit},
	)
	var payload []byte
	for _, s := range settings {
		payload = append(payload, byte(s.ID>>8), byte(s.ID), //nolint:gosec // its bytes
			byte(s.Val>>24), byte(s.Val>>16), byte(s.Val>>8), byte(s.Val)) //nolint:gosec // its bytes
	}
	c.queue(http2.FrameSettings, 0, 0, payload)
	c.queueNumber(http2.FrameWindowUpdate, 0, connWindow-65535)
}

// run serves the connection until it has ended, and closes it.
func (c *conn) run() {
	c.arm()
	err := c.read()
	c.end(err)
	c.mu.Lock()
	for c.writing {
		c.quiet.Wait()
	}
	polite := c.polite && c.broken == nil
	if c.stuck != nil {
		c.stuck.Stop()
	}
	c.mu.Unlock()
	if polite {
		c.hearOut()
	}
	c.src.release()
	_ = c.nc.Close() // there is nobody to tell
}

// hurry bounds the writing of what is left.
func (c *conn) hurry() {
	_ = c.nc.SetWriteDeadline(time.Now().Add(partingTime)) // a closed one has none
}

// hearOut waits for a moment until the peer has closed: a connection that is
// closed before all was read is reset, which would take our last words from
// the peer.
func (c *conn) hearOut() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(partingTime / 2)) // a closed one has none
	buf := make([]byte, smallBuffer)
	for left := 1 << 20; left > 0; {
		n, err := c.nc.Read(buf)
		if err != nil {
			return
		}
		left -= n
	}
}

// end ends the connection because of err: what was not written yet is dropped,
// so that "not written" stays true, and all streams fail. A violation is told
// to the peer. Only the first end counts.
func (c *conn) end(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	c.ended.Store(true)
	c.out, c.queued = nil, c.taken
	code := http2.ErrCodeNo
	if v, ok := errors.AsType[*violation](err); ok {
		code = v.code
		c.goAway(v.code, v.what)
	}
	lost := make([]*stream, 0, len(c.streams))
	for _, s := range c.streams {
		lost = append(lost, s)
	}
	clear(c.streams)
	taken := c.taken
	c.hurry()
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // the reader ends
	c.kick()
	for _, s := range c.blocked {
		s.blocked = false
		s.room.Broadcast()
	}
	c.blocked = nil
	for _, s := range lost {
		e := &Error{Code: code, Err: err}
		e.Evidence.NotWritten = s.start >= taken
		s.stopLocked(e)
	}
	c.mu.Unlock()
	for _, s := range lost {
		s.fail(s.stopped)
	}
}

// goAway queues why the connection ends. c.mu is held.
func (c *conn) goAway(code http2.ErrCode, what string) {
	payload := []byte{
		byte(c.lastPeer >> 24), byte(c.lastPeer >> 16), byte(c.lastPeer >> 8), byte(c.lastPeer), //nolint:gosec // its bytes
		0, 0, 0, byte(code), //nolint:gosec // few
	}
	c.queue(http2.FrameGoAway, 0, 0, append(payload, what...))
	c.polite = true
}

// part ends the connection when its streams have and all is written. c.mu is
// held.
func (c *conn) part() {
	c.leaving, c.parting = true, true
	c.parted()
}

// parted ends the connection if it is time. c.mu is held.
func (c *conn) parted() {
	if c.parting && len(c.streams) == 0 && c.err == nil && !c.writing && len(c.out) == 0 {
		c.err = errParted
		c.ended.Store(true)
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // the reader ends
	}
}

// open registers a stream. c.mu is held.
func (c *conn) open(s *stream) {
	s.window = c.peerWindow
	s.start = c.queued
	c.streams[s.id] = s
}

// forget ends a stream on this side. It reports whether it was known. c.mu is
// held.
func (c *conn) forget(s *stream) bool {
	if c.streams[s.id] != s {
		return false
	}
	delete(c.streams, s.id)
	c.role.forgot()
	if !c.writing {
		c.trim()
	}
	c.parted()
	return true
}

func (c *conn) stream(id uint32) *stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

// cause is why the connection has ended, or nothing can be written on it. c.mu
// is held.
func (c *conn) cause() error {
	if c.err != nil {
		return c.err
	}
	return c.broken
}
