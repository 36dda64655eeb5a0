package mesh

import (
	"io"
	"net"
	"testing"
	"time"
)

// What is said last is said, although the one who writes it came to it only when
// the time was up: the kernel takes it at once. What it does not take is not waited
// for.
func TestTheLastWordsAreSaidHoweverLate(t *testing.T) {
	t.Parallel()
	if !canTry {
		t.Skip("this system takes nothing without waiting")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	ours, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ours.Close() }()
	theirs, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = theirs.Close() }()
	s := newSocket(ours)
	s.joined = true
	_ = ours.SetWriteDeadline(time.Now().Add(-time.Second))
	const words = "last words"
	_, _ = s.Write([]byte(words))
	if err := s.flush(); err != nil {
		t.Errorf("flush = %v", err)
	}
	_ = theirs.SetReadDeadline(time.Now().Add(time.Minute))
	got := make([]byte, len(words))
	if _, err := io.ReadFull(theirs, got); string(got) != words || err != nil {
		t.Errorf("the peer read %q, %v", got, err)
	}
	_, _ = s.Write(make([]byte, 64<<20))
	if err := s.flush(); err == nil {
		t.Error("64 MiB were taken by a peer that reads nothing")
	}
}
