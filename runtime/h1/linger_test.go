package h1_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/runtime/h1"
)

// dated is a connection that notes until when it was last to be read.
type dated struct {
	*net.TCPConn
	mu    sync.Mutex // guards what follows
	until time.Time
}

func (d *dated) SetReadDeadline(t time.Time) error {
	d.mu.Lock()
	d.until = t
	d.mu.Unlock()
	return d.TCPConn.SetReadDeadline(t)
}

// A client that sends slowly what nobody wants has its answer first: if the
// connection were closed before, its next write would fail, and many a client
// looks no further.
func TestAClientHasSecondsToTakeAnEarlyAnswer(t *testing.T) {
	t.Parallel()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }() // it has been asked once
	w := dial(t, ln.Addr().String())
	accepted, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	c, began := &dated{TCPConn: accepted}, time.Now()
	s := h1.New(t.Context(), h1.Config{Handler: handler{serve: func(_ context.Context, x *h1.Exchange) {
		_ = x.Reply(h1.Reply{Status: 502})
	}}})
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(c) }()
	w.send(t, post("Transfer-Encoding: chunked")+"1\r\nx\r\n")
	if resp, _ := w.response(t, "POST"); resp.StatusCode != 502 {
		t.Errorf("status %d, want 502", resp.StatusCode)
	}
	if _, err := io.ReadAll(w); err != nil { // it ends: nothing more is said
		t.Error(err)
	}
	_ = w.Close()
	<-served
	if least := began.Add(2 * time.Second); c.until.Before(least) {
		t.Errorf("it had %v", c.until.Sub(began))
	}
}
