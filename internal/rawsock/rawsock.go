// Package rawsock reads and writes sockets without telling Go's scheduler that
// a system call begins and ends. Go's sockets never block, so there is nothing
// to tell; but an idle program pays for the telling: each first call after a
// pause wakes the thread that watches over system calls, a system call of its
// own. With one call at a time that was a fifth of what a sidecar spent.
//
// Only Linux lets a program do so; elsewhere the ordinary calls are made.
package rawsock

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// A Conn is a connection whose Read and Write make their system calls that
// way. It is otherwise what it wraps, and safe for concurrent use as that is.
type Conn struct {
	net.Conn
	raw syscall.RawConn

	reading sync.Mutex // guards what follows
	in      []byte
	read    int
	inErr   error
	onRead  func(fd uintptr) bool

	writing sync.Mutex // guards what follows
	out     []byte
	outErr  error
	onWrite func(fd uintptr) bool
}

var _ syscall.Conn = (*Conn)(nil)

// Wrap is c as a Conn, or c itself where that cannot be: it is no socket, or
// the system is another one.
func Wrap(c net.Conn) net.Conn {
	switch c.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return c
	}
	if !Raw {
		return c
	}
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return c // it is closed, and says so itself
	}
	w := &Conn{Conn: c, raw: raw}
	w.onRead, w.onWrite = w.readNow, w.writeNow
	return w
}

// Read is net.Conn's.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	c.in, c.read, c.inErr = p, 0, nil
	err := c.raw.Read(c.onRead)
	c.in = nil
	switch {
	case err != nil:
		return 0, err
	case c.inErr != nil:
		return 0, c.failed("read", c.inErr)
	case c.read == 0:
		return 0, io.EOF
	}
	return c.read, nil
}

func (c *Conn) readNow(fd uintptr) bool {
	c.read, c.inErr = TryRead(fd, c.in)
	return c.inErr != syscall.EAGAIN //nolint:errorlint // bare, by TryRead
}

// Write is net.Conn's.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.out, c.outErr = p, nil
	err := c.raw.Write(c.onWrite)
	n := len(p) - len(c.out)
	c.out = nil
	if err == nil && c.outErr != nil {
		err = c.failed("write", c.outErr)
	}
	return n, err
}

func (c *Conn) writeNow(fd uintptr) bool {
	for len(c.out) > 0 {
		n, err := TryWrite(fd, c.out)
		if err == syscall.EAGAIN { //nolint:errorlint // bare, by TryWrite
			return false
		}
		if c.outErr = err; err != nil {
			return true
		}
		c.out = c.out[n:]
	}
	return true
}

// failed is what net says of a failed call.
func (c *Conn) failed(op string, err error) error {
	return &net.OpError{
		Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(),
		Err: os.NewSyscallError(op, err),
	}
}

// SyscallConn is that of the connection.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// CloseWrite ends our direction.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return syscall.ENOTSUP
	}
	return half.CloseWrite()
}
