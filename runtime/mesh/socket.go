package mesh

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pillion-dev/pillion/internal/rawsock"
)

// readSize is how much a socket takes from the kernel at once.
const readSize = 64 << 10

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// keptRecords bounds the room for records that a socket keeps.
const keptRecords = 128 << 10

// recordHeader begins a TLS record; its last two bytes are the length of what
// follows.
const recordHeader = 5

// A socket is the connection below TLS. TLS gets one record at a time, so that
// it keeps none it has not been asked for. As long as the socket is not joined
// it is otherwise the connection it has. After that TLS neither reads nor writes
// it: it gets what fill has read, and what it makes waits for flush. So many
// records go out in one write, the reader knows when it has seen all there is, a
// link that waits holds no buffer, and who writes does not wait for a peer that
// does not read.
type socket struct {
	net.Conn
	raw    syscall.RawConn // nil if only the connection itself can be asked
	joined bool            // set before link's goroutines begin

	// What follows is the reader's.
	in     *[readSize]byte // nil if nothing is there
	r, w   int
	left   int // of the record that has begun
	inErr  error
	onRead func(fd uintptr) bool

	// What follows belongs to who writes on the link.
	out     []byte // what flush has taken
	sent    int    // of it, what the kernel has
	outErr  error
	onWrite func(fd uintptr) bool

	mu      sync.Mutex // guards what follows
	records []byte     // what TLS has made
}

func newSocket(conn net.Conn) *socket {
	s := &socket{Conn: conn}
	s.onRead, s.onWrite = s.readNow, s.writeNow
	if c, ok := conn.(syscall.Conn); ok && canTry {
		if raw, err := c.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	return s
}

// dry is what TLS gets when the socket has nothing for it now. That it calls
// itself temporary keeps TLS from remembering it.
type dry struct{}

func (dry) Error() string   { return "nothing is there yet" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }

// Read gives TLS what fill has read, up to the end of a record.
func (s *socket) Read(p []byte) (int, error) {
	for !s.proceed() {
		if s.joined {
			return 0, dry{}
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.in[s.r:min(s.w, s.r+s.left)])
	s.left -= n
	if s.r += n; s.r == s.w {
		s.putBack()
	}
	return n, nil
}

// proceed reports whether there is something of a record whose length is known.
func (s *socket) proceed() bool {
	if s.left == 0 && s.w-s.r >= recordHeader {
		s.left = recordHeader + (int(s.in[s.r+3])<<8 | int(s.in[s.r+4]))
	}
	return s.left > 0 && s.r < s.w
}

// isDry reports whether TLS has been given all there is, up to the end of a
// record: it has nothing more to say before fill.
func (s *socket) isDry() bool { return s.left == 0 && !s.proceed() }

func (s *socket) putBack() {
	readBuffers.Put(s.in)
	s.in, s.r, s.w = nil, 0, 0
}

// fill waits for bytes of the peer's. Of those before it only the beginning of
// a record's header may be left.
func (s *socket) fill() error {
	if s.in != nil {
		s.w = copy(s.in[:], s.in[s.r:s.w])
		s.r = 0
	}
	before := s.w
	if s.raw == nil {
		s.makeRoom()
		n, err := s.Conn.Read(s.in[s.w:])
		s.w, s.inErr = s.w+n, err
	} else if err := s.raw.Read(s.onRead); err != nil {
		return err
	}
	if s.w > before {
		return nil
	}
	if s.w == 0 {
		s.putBack()
	}
	return s.inErr
}

func (s *socket) makeRoom() {
	if s.in == nil {
		s.in = readBuffers.Get().(*[readSize]byte)
	}
}

// readNow reads without waiting. It reports whether there was anything, be it
// an error.
func (s *socket) readNow(fd uintptr) bool {
	s.makeRoom()
	n, err := rawsock.TryRead(fd, s.in[s.w:])
	if isLater(err) {
		if s.w == 0 {
			s.putBack()
		}
		return false
	}
	s.w, s.inErr = s.w+n, err
	if n == 0 && err == nil {
		s.inErr = io.EOF
	}
	return true
}

// Write keeps what TLS has made until flush.
func (s *socket) Write(p []byte) (int, error) {
	if !s.joined {
		return s.Conn.Write(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, p...)
	return len(p), nil
}

// take makes what TLS has made the next to be sent.
func (s *socket) take() {
	if s.sent < len(s.out) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out, s.records, s.sent = s.records, s.out[:0], 0
	if cap(s.records) > keptRecords {
		s.records = nil
	}
}

// isClear reports whether the kernel has all that TLS has made.
func (s *socket) isClear() bool {
	if s.sent < len(s.out) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records) == 0
}

// tryFlush sends what the kernel takes without waiting. What is left is for
// flush.
func (s *socket) tryFlush() error {
	s.take()
	if s.raw == nil || s.sent == len(s.out) {
		return nil
	}
	s.outErr = nil
	if err := s.raw.Write(s.onWrite); err != nil {
		return err
	}
	return s.outErr
}

// writeNow writes once without waiting.
func (s *socket) writeNow(fd uintptr) bool {
	n, err := rawsock.TryWrite(fd, s.out[s.sent:])
	s.sent += max(n, 0)
	if err != nil && !isLater(err) {
		s.outErr = err
	}
	return true
}

// flush sends all that TLS has made, however long that takes, or until hurry's
// time is up.
func (s *socket) flush() error {
	for s.take(); s.sent < len(s.out); s.take() {
		n, err := s.Conn.Write(s.out[s.sent:])
		s.sent += n
		if errors.Is(err, os.ErrDeadlineExceeded) && s.goes() {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// goes writes once although the time is up, and reports whether anything went: on
// a machine with too much to do the time may have passed before anybody could
// write, and the kernel may take it all the same.
func (s *socket) goes() bool {
	before := s.sent
	return s.raw != nil && s.raw.Control(func(fd uintptr) { s.writeNow(fd) }) == nil && s.sent > before
}

// SetWriteDeadline is TLS's way to bound a last word, which waits for nobody
// here. The link's is hurry.
func (s *socket) SetWriteDeadline(t time.Time) error {
	if s.joined {
		return nil
	}
	return s.Conn.SetWriteDeadline(t)
}

// hurry bounds the writing of what is left.
func (s *socket) hurry() {
	_ = s.Conn.SetWriteDeadline(time.Now().Add(partingTime)) // a closed one has none
}

// expectEnd bounds the waiting for the peer to close.
func (s *socket) expectEnd() {
	_ = s.SetReadDeadline(time.Now().Add(partingTime)) // a closed one has none
}

// trim lets go of what an idle link does not need. It is called by who writes.
func (s *socket) trim() {
	if !s.isClear() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out, s.records, s.sent = nil, nil, 0
}

// Close says what TLS has said last, if that can be said at once.
func (s *socket) Close() error {
	if s.joined && !s.isClear() {
		_ = s.tryFlush() // a peer that is gone misses nothing
	}
	return s.Conn.Close()
}

// isLater reports whether err says that the kernel has nothing, or no room, now.
func isLater(err error) bool {
	return err == syscall.EAGAIN //nolint:errorlint // bare, by rawsock
}
