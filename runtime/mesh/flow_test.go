package mesh

import (
	"errors"
	"net"
	"runtime"
	"testing"
)

// A call that ends while it waits for the writer must not be charged for bytes
// any more: its sure part has been given up, and would be lost for good.
func TestACallThatEndsWhileItWaitsIsNotCharged(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer func() { _, _ = ours.Close(), theirs.Close() }()
	l := newLink(ours, newSocket(ours), &served{})
	s := &stream{}
	s.init(l, nil)
	l.mu.Lock()
	l.begin(s, 1)
	l.out.buf = make([]byte, gather) // the writer is busy
	l.mu.Unlock()
	sent := make(chan error, 1)
	go func() { sent <- l.sendData(s, []byte("too late")) }()
	for waits := false; !waits; runtime.Gosched() {
		l.mu.Lock()
		waits = len(l.out.turns) > 0
		l.mu.Unlock()
	}
	l.forget(s)
	l.mu.Lock()
	l.out.buf = nil
	l.out.letIn()
	l.mu.Unlock()
	if err := <-sent; !errors.Is(err, errStopped) {
		t.Errorf("sendData = %v, want it stopped", err)
	}
	if l.surely != 0 || l.sent != 0 || len(l.out.buf) != 0 {
		t.Errorf("charged: %d bytes, %d of them surely, %d queued", l.sent, l.surely, len(l.out.buf))
	}
}
