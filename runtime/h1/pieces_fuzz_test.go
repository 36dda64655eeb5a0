package h1_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/runtime/h1"
)

// goOn is an interim answer that is left out if the body is there already.
var goOn = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// FuzzPieces sends the same bytes in one write and in two: it must not matter
// to what is answered, or given back.
func FuzzPieces(f *testing.F) {
	for _, seed := range []string{
		get + get, "GET / HTTP/1.0\r\n\r\n" + get, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\r\n" + get,
		post("Content-Length: 3") + "abc" + get, post("Content-Length: 3") + "ab",
		post("Transfer-Encoding: chunked") + "3;x\r\nabc\r\n0\r\n\r\n" + get,
		post("Transfer-Encoding: chunked") + "3\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\n\r\n" + get,
		post("Transfer-Encoding: chunked") + "3\r\nabcd\r\n", post("Content-Length: 3", "Transfer-Encoding: chunked"),
		post("Expect: 100-continue", "Content-Length: 3") + "abc" + get,
		post("A: b\rc"), post("A: b\nc"), post("A: b", " c"), post("A : b"), post("Host: i"),
	} {
		for _, cut := range []uint16{1, 17, 40, 70} {
			f.Add([]byte(seed), cut)
		}
	}
	dir, err := os.MkdirTemp("", "h1") // f.TempDir may be too long a path for a socket
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	ask := speaker(f, filepath.Join(dir, "s"))
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		n := min(int(cut), len(data))
		whole, pieces := ask(t, data), ask(t, data[:n], data[n:])
		if !bytes.Equal(bytes.ReplaceAll(whole, goOn, nil), bytes.ReplaceAll(pieces, goOn, nil)) {
			t.Errorf("%q is answered with\n%q, cut at %d with\n%q", data, whole, n, pieces)
		}
	})
}

// speaker serves on a unix socket and returns what asks there: it sends pieces
// one by one and returns the answers, or what was given back behind them.
func speaker(f *testing.F, path string) func(t *testing.T, pieces ...[]byte) []byte {
	f.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		f.Skip("no unix sockets: ", err)
	}
	s := h1.New(f.Context(), h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) { answer(ctx, x, false) }}})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				g := s.Serve(c)
				if g.Over {
					return
				}
				rest, _ := io.ReadAll(c)
				_, _ = c.Write(append(append([]byte("given back: "), g.Data...), rest...))
				_ = c.Close()
			})
		}
	})
	f.Cleanup(func() {
		_ = ln.Close()
		s.Shutdown(context.WithoutCancel(f.Context()), nil)
		wg.Wait()
	})
	return func(t *testing.T, pieces ...[]byte) []byte {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		_ = c.SetDeadline(time.Now().Add(patience))
		for _, piece := range pieces {
			_, _ = c.Write(piece) // it may be refused before all is sent
		}
		_ = c.(*net.UnixConn).CloseWrite()
		said, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("no end of %q", said)
		}
		return said
	}
}
