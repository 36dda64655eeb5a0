package h1_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// patience bounds what must happen at once.
const patience = time.Minute

// A handler serves what take, if it is set, takes.
type handler struct {
	take  func(x *h1.Exchange) bool
	serve func(ctx context.Context, x *h1.Exchange)
}

func (h handler) Take(x *h1.Exchange) bool {
	x.Call.Path = x.Head.Target
	return h.take == nil || h.take(x)
}

func (h handler) Serve(ctx context.Context, x *h1.Exchange) { h.serve(ctx, x) }

func (handler) Refuse(r h1.Refusal) h1.Reply {
	return h1.Reply{Status: r.Status, Fields: invoke.Fields{{Name: "X-Refused", Value: "1"}}, Body: []byte(r.Why)}
}

// A site is a Server on a listener, as tests use it.
type site struct {
	*h1.Server
	addr   string
	given  chan h1.Given // connections that were given back
	writes atomic.Int32  // on all connections
	stop   func()
}

// counted counts the writes of a connection.
type counted struct {
	*net.TCPConn
	site *site
}

func (c counted) Write(p []byte) (int, error) {
	c.site.writes.Add(1)
	return c.TCPConn.Write(p)
}

func serve(t *testing.T, cfg h1.Config) *site {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Server: h1.New(t.Context(), cfg), addr: ln.Addr().String(), given: make(chan h1.Given, 16)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			wg.Go(func() {
				if g := s.Serve(counted{c, s}); !g.Over {
					_ = c.Close()
					s.given <- g
				}
			})
		}
	})
	s.stop = sync.OnceFunc(func() {
		_ = ln.Close()
		limit, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 50*time.Millisecond)
		defer cancel()
		s.Shutdown(limit, nil)
		wg.Wait()
	})
	t.Cleanup(s.stop)
	return s
}

// seen is a call as reflect answers it.
type seen struct {
	Verb, Path, Host, Upgrade string
	Length                    int64
	Expect, Whole             bool
	Fields                    invoke.Fields
	Body                      string
	Trailers                  invoke.Fields
}

// reflect answers with what it was called with.
func reflect(ctx context.Context, x *h1.Exchange) { answer(ctx, x, true) }

// answer is reflect, which may leave out whether the body was whole.
func answer(_ context.Context, x *h1.Exchange, whole bool) {
	c := &x.Call
	s := seen{
		Verb: c.Verb, Path: c.Path, Host: c.Host, Upgrade: x.Head.Upgrade,
		Length: c.Length, Expect: c.Expect, Fields: c.Fields,
	}
	if c.Body != nil {
		_, s.Whole = invoke.Whole(c.Body)
		s.Whole = s.Whole && whole
		data, err := io.ReadAll(c.Body)
		if err != nil {
			_ = x.Reply(h1.Reply{Status: 400, Body: []byte(err.Error())})
			return
		}
		s.Body, s.Trailers = string(data), c.Body.Trailers()
		_ = c.Body.Close()
	}
	data, _ := json.Marshal(s)
	_ = x.Reply(h1.Reply{Status: 200, Body: data})
}

func reflecting(t *testing.T) *site {
	t.Helper()
	return serve(t, h1.Config{Handler: handler{serve: reflect}})
}

// A wire is a raw connection to a site.
type wire struct {
	*net.TCPConn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &wire{c.(*net.TCPConn), bufio.NewReader(c)}
}

func (w *wire) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func (w *wire) response(t *testing.T, method string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("body: %v", err)
	}
	_ = resp.Body.Close()
	return resp, string(body)
}

func (w *wire) seen(t *testing.T) seen {
	t.Helper()
	resp, body := w.response(t, "POST")
	var s seen
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%d %q is no reflected call", resp.StatusCode, body)
	}
	return s
}

// closed fails if the server still talks.
func (w *wire) closed(t *testing.T) {
	t.Helper()
	rest, err := io.ReadAll(w.r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
	if len(rest) > 0 {
		t.Errorf("the server said more: %q", rest)
	}
}

const get = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

func post(lines ...string) string {
	return "POST /x HTTP/1.1\r\nHost: h\r\n" + strings.Join(append(lines, "", ""), "\r\n")
}
