//go:build unix

package rawsock_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/rawsock"
	"github.com/pillion-dev/pillion/internal/within"
)

// pair is a connection's two ends, ours wrapped.
func pair(t *testing.T, network string) (ours, theirs net.Conn) {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = filepath.Join(t.TempDir(), "s")
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), network, at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }() // one connection is all
	var d net.Dialer
	c, err := d.DialContext(t.Context(), network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ours = rawsock.Wrap(c)
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

func TestBytesCrossInBothDirectionsHoweverMany(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		ours, theirs := pair(t, network)
		sent := make([]byte, 8<<20) // more than any socket buffers
		_, _ = rand.Read(sent)
		go func() { _, _ = io.Copy(theirs, theirs) }() // an echo, until closed
		done := make(chan error, 1)
		go func() {
			_, err := ours.Write(sent)
			if err == nil {
				err = ours.(interface{ CloseWrite() error }).CloseWrite()
			}
			done <- err
		}()
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(ours, got); err != nil {
			t.Fatal(network, err)
		}
		if err := within.Receive(t, done); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%s: %v, equal %v", network, err, bytes.Equal(got, sent))
		}
	}
}

func TestTheEndIsEOF(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t, "tcp")
	_ = theirs.Close()
	if n, err := ours.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // bare, as net's
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestADeadlineEndsAReadThatWaits(t *testing.T) {
	t.Parallel()
	ours, _ := pair(t, "tcp")
	if err := ours.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v", err)
	}
}

func TestClosingEndsAReadThatWaits(t *testing.T) {
	t.Parallel()
	ours, _ := pair(t, "tcp")
	ended := make(chan error, 1)
	go func() {
		_, err := ours.Read(make([]byte, 1))
		ended <- err
	}()
	_ = ours.Close()
	if err := within.Receive(t, ended); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if _, err := ours.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: %v", err)
	}
}

func TestAResetIsNamed(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t, "tcp")
	if err := theirs.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	_, err := ours.Read(make([]byte, 1))
	if op := (*net.OpError)(nil); !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &op) || op.Op != "read" {
		t.Errorf("read: %v", err)
	}
}

func TestWhatIsNoSocketStaysAsItIs(t *testing.T) {
	t.Parallel()
	c, other := net.Pipe()
	defer func() { _, _ = c.Close(), other.Close() }()
	if rawsock.Wrap(c) != c {
		t.Error("a pipe was wrapped")
	}
}

func TestAPeekLeavesWhatItSees(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t, "tcp")
	raw, err := ours.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var seen [8]byte
	peek := func() (n int, fault error) {
		if err := raw.Read(func(fd uintptr) bool { n, fault = rawsock.TryPeek(fd, seen[:]); return true }); err != nil {
			t.Fatal(err)
		}
		return n, fault
	}
	if n, err := peek(); n != 0 || !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("with nothing there: %d bytes, %v", n, err)
	}
	if _, err := theirs.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	var got [5]byte
	if err := raw.Read(func(fd uintptr) bool {
		n, _ := rawsock.TryPeek(fd, seen[:])
		return n > 0
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(ours, got[:]); err != nil || string(got[:]) != "hello" || string(seen[:5]) != "hello" {
		t.Errorf("read %q behind a look at %q: %v", got, seen, err)
	}
}
