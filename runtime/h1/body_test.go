package h1_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func TestBodiesThatAreThereAreWhole(t *testing.T) {
	t.Parallel()
	s := reflecting(t)
	long := func(n int) string { return strings.Repeat("0123456789", n/10) }
	for name, c := range map[string]struct {
		text, body string
		whole      bool
	}{
		"none":               {post(), "", false},
		"empty":              {post("Content-Length: 0"), "", false},
		"small":              {post("Content-Length: 3") + "abc", "abc", true},
		"10 KB":              {post("Content-Length: 10000") + long(10_000), long(10_000), true},
		"chunks":             {post("Transfer-Encoding: Chunked") + "2;a=\"b\"\r\nab\r\n0001 \r\nc\r\n0\r\n\r\n", "abc", true},
		"no chunks":          {post("Transfer-Encoding: chunked") + "0\r\n\r\n", "", true},
		"trailers":           {post("Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\nX: y\r\n\r\n", "abc", false},
		"another one behind": {post("Content-Length: 3") + "abc" + get, "abc", true},
		"too long":           {post("Content-Length: 1000000") + long(1_000_000), long(1_000_000), false},
		"many chunks":        {post("Transfer-Encoding: chunked") + strings.Repeat("a\r\n0123456789\r\n", 50_000) + "0\r\n\r\n", long(500_000), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := dial(t, s.addr)
			for range 3 {
				w.send(t, c.text)
				got := w.seen(t)
				if got.Body != c.body || got.Whole != c.whole {
					t.Fatalf("whole %v, body of %d bytes %.100q", got.Whole, len(got.Body), got.Body)
				}
				if strings.HasSuffix(c.text, get) {
					w.seen(t)
				}
			}
		})
	}
}

// Many clients send head and body in two writes.
func TestABodyThatComesAtOnceIsWaitedFor(t *testing.T) {
	t.Parallel()
	took := make(chan struct{}, 1)
	s := serve(t, h1.Config{Handler: handler{
		take:  func(*h1.Exchange) bool { took <- struct{}{}; return true },
		serve: reflect,
	}})
	for range 100 { // now and then it is too slow for being waited for
		w := dial(t, s.addr)
		w.send(t, post("Content-Length: 5000"))
		within.Receive(t, took)
		w.send(t, strings.Repeat("x", 5000))
		if got := w.seen(t); len(got.Body) != 5000 {
			t.Fatalf("%d bytes", len(got.Body))
		} else if got.Whole {
			return
		}
	}
	t.Error("the body was never whole")
}

func TestTheFirstByteIsNotHeldBack(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string][2]string{
		"length":  {"Content-Length: 100000", "a"},
		"short":   {"Content-Length: 2", "a"},
		"chunked": {"Transfer-Encoding: chunked", "64\r\na"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := make(chan string, 1)
			s := serve(t, h1.Config{Handler: handler{serve: func(_ context.Context, x *h1.Exchange) {
				p := make([]byte, 100)
				n, _ := x.Call.Body.Read(p)
				first <- string(p[:n])
				_ = x.Reply(h1.Reply{Status: 200})
			}}})
			w := dial(t, s.addr)
			w.send(t, post(lines[0])+lines[1])
			if got := within.Receive(t, first); got != "a" {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestChunksAreReadAsTheyCome(t *testing.T) {
	t.Parallel()
	s := reflecting(t)
	w := dial(t, s.addr)
	_ = w.SetNoDelay(true)
	for _, c := range post("Transfer-Encoding: chunked", "Trailer: X") + "3\r\nabc\r\nB;x\r\n0123456789a\r\n0\r\nX: 1\r\ny-Z:\t2\r\n\r\n" + get {
		w.send(t, string(c))
	}
	got := w.seen(t)
	want := invoke.Fields{{Name: "X", Value: "1"}, {Name: "y-Z", Value: "2"}}
	if got.Body != "abc0123456789a" || got.Length != -1 || len(got.Trailers) != 2 || got.Trailers[0] != want[0] || got.Trailers[1] != want[1] {
		t.Errorf("%+v", got)
	}
	if got := w.seen(t); got.Verb != "GET" {
		t.Errorf("behind it: %+v", got)
	}
}

func TestBadChunksEndTheConnection(t *testing.T) {
	t.Parallel()
	s := reflecting(t)
	for name, body := range map[string]string{
		"size with sign":           "+4\r\nabcd\r\n0\r\n\r\n",
		"size with 0x":             "0x4\r\nabcd\r\n0\r\n\r\n",
		"no size":                  "\r\nabcd\r\n0\r\n\r\n",
		"only an extension":        ";x\r\nabcd\r\n0\r\n\r\n",
		"size beyond int64":        "fffffffffffffffff\r\nabcd\r\n0\r\n\r\n",
		"bare LF behind a chunk":   "4\r\nabcd\n0\r\n\r\n",
		"bare LF behind a size":    "4\nabcd\r\n0\r\n\r\n",
		"bare CR in an extension":  "4;a\rb\r\nabcd\r\n0\r\n\r\n",
		"null in an extension":     "4;a\x00b\r\nabcd\r\n0\r\n\r\n",
		"longer than said":         "4\r\nabcde\r\n0\r\n\r\n",
		"shorter than said":        "4\r\nabc\r\n0\r\n\r\n",
		"oversized size line":      "4;" + strings.Repeat("x", 5000) + "\r\nabcd\r\n0\r\n\r\n",
		"oversized, without end":   "4;" + strings.Repeat("x", 5000),
		"folded trailer":           "0\r\nX: a\r\n b\r\n\r\n",
		"trailer without a colon":  "0\r\nX\r\n\r\n",
		"bare LF behind a trailer": "0\r\nX: a\n\r\n",
		"trailers without bound":   "0\r\n" + strings.Repeat("X: "+strings.Repeat("x", 900)+"\r\n", 80) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := dial(t, s.addr)
			w.send(t, post("Transfer-Encoding: chunked")+body+get)
			if resp, _ := w.response(t, "POST"); resp.StatusCode != 400 {
				t.Errorf("%d", resp.StatusCode)
			}
			w.closed(t)
		})
	}
}

func TestContinueIsSentByTheFirstRead(t *testing.T) {
	t.Parallel()
	read := make(chan bool)
	s := serve(t, h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) {
		if !x.Call.Expect || !<-read {
			_ = x.Reply(h1.Reply{Status: 417})
			return
		}
		_ = x.Call.Informational(100, nil) // the app's own; the client must get one
		reflect(ctx, x)
	}}})
	head := post("Expect: 100-Continue", "Content-Length: 4")
	w := dial(t, s.addr)
	w.send(t, head)
	read <- true
	line, err := w.r.ReadString('\n')
	if line != "HTTP/1.1 100 Continue\r\n" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	_, _ = w.r.ReadString('\n')
	w.send(t, "body")
	if got := w.seen(t); got.Body != "body" {
		t.Errorf("%+v", got)
	}
	// A client that does not wait gets none.
	w.send(t, head+"body")
	read <- true
	if got := w.seen(t); got.Body != "body" {
		t.Errorf("%+v", got)
	}
	// Nobody knows what a client sends that was told nothing.
	w.send(t, head)
	read <- false
	if resp, _ := w.response(t, "POST"); resp.StatusCode != 417 || !resp.Close {
		t.Errorf("%d, close %v", resp.StatusCode, resp.Close)
	}
	w.closed(t)
}

func TestABodyNobodyWantsIsSkipped(t *testing.T) {
	t.Parallel()
	s := serve(t, h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) {
		if x.Call.Body == nil {
			reflect(ctx, x)
			return
		}
		_, _ = x.Call.Body.Read(make([]byte, 10))
		_ = x.Reply(h1.Reply{Status: 413})
	}}})
	for name, c := range map[string]struct {
		text string
		next bool // another request is answered
	}{
		"small":        {post("Content-Length: 100") + strings.Repeat("x", 100), true},
		"streamed":     {post("Content-Length: 100000") + strings.Repeat("x", 100_000), true},
		"chunked":      {post("Transfer-Encoding: chunked") + strings.Repeat("a\r\n0123456789\r\n", 10_000) + "0\r\nX: y\r\n\r\n", true},
		"without end":  {post("Content-Length: 100000") + "abc", false},
		"bad":          {post("Transfer-Encoding: chunked") + strings.Repeat("a\r\n0123456789\r\n", 4_000) + "z\r\n", false},
		"far too long": {post("Content-Length: 10000000") + strings.Repeat("x", 300_000), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// What is late by a tenth of a second is not waited for: on a busy
			// machine that may happen once, but not always.
			within.Until(t, "the right end of it", func() bool {
				w := dial(t, s.addr)
				defer func() { _ = w.Close() }()
				w.send(t, c.text+get)
				if resp, _ := w.response(t, "POST"); resp.StatusCode != 413 {
					t.Fatalf("%d", resp.StatusCode)
				}
				_, err := w.r.Peek(1)
				return (err == nil) == c.next
			})
		})
	}
}

// An answer may be complete before the request is.
func TestTheEndOfTheAnswerEndsTheReading(t *testing.T) {
	t.Parallel()
	readers := make(chan error, 1)
	s := serve(t, h1.Config{Handler: handler{serve: func(_ context.Context, x *h1.Exchange) {
		began := make(chan struct{})
		go func() {
			p := make([]byte, 1)
			_, err := x.Call.Body.Read(p)
			close(began)
			for err == nil {
				_, err = x.Call.Body.Read(p)
			}
			readers <- err
		}()
		<-began
		_ = x.Reply(h1.Reply{Status: 200, Body: []byte("ok")})
	}}})
	for _, text := range []string{post("Content-Length: 100000") + "abc", post("Transfer-Encoding: chunked") + "5\r\nabc"} {
		w := dial(t, s.addr)
		w.send(t, text)
		if resp, body := w.response(t, "POST"); resp.StatusCode != 200 || body != "ok" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		select {
		case err := <-readers:
			if err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the body ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the body is still read")
		}
		w.closed(t)
	}
}
