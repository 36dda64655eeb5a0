package h2_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// patience bounds the waits of tests.
const patience = time.Minute

var timeless time.Time

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// A site is a Server on a listener.
type site struct {
	addr string
	ln   net.Listener
	wg   sync.WaitGroup

	mu    sync.Mutex // guards what follows
	conns []*h2.ServerConn
}

// serve answers with handler until the test is over.
func serve(t testing.TB, handler func(*callctx.Context, *h2.Stream)) *site {
	t.Helper()
	st := &site{ln: listen(t)}
	st.addr = st.ln.Addr().String()
	srv := &h2.Server{Handler: handler}
	st.wg.Go(func() {
		for {
			nc, err := st.ln.Accept()
			if err != nil {
				return
			}
			sc := srv.NewConn(nc)
			st.mu.Lock()
			st.conns = append(st.conns, sc)
			st.mu.Unlock()
			st.wg.Go(sc.Serve)
		}
	})
	t.Cleanup(func() {
		_ = st.ln.Close()
		st.each(func(sc *h2.ServerConn) { sc.Close(errors.New("the test is over")) })
		st.wg.Wait()
	})
	return st
}

func (st *site) each(f func(*h2.ServerConn)) {
	st.mu.Lock()
	conns := append([]*h2.ServerConn(nil), st.conns...)
	st.mu.Unlock()
	for _, sc := range conns {
		f(sc)
	}
}

// echo answers with what came, head line and body.
func echo(_ *callctx.Context, s *h2.Stream) {
	fields := invoke.Fields{{Name: "x-path", Value: s.Path()}}
	if s.Body() == nil {
		_ = s.Reply(200, fields, nil)
		return
	}
	_ = s.Answer(&invoke.Answer{Status: 200, Fields: fields, Body: s.Body(), Length: -1}, nil)
}

// h2c is net/http's client with prior knowledge.
func h2c(t testing.TB) *http.Client {
	t.Helper()
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &p, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// dial is a Client on addr.
func dial(t testing.TB, addr string) *h2.Client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return client(t, nc)
}

func client(t testing.TB, nc net.Conn) *h2.Client {
	t.Helper()
	cl := h2.NewClient(nc)
	done := make(chan struct{})
	go func() { defer close(done); cl.Run() }()
	t.Cleanup(func() { cl.Close(); within.Receive(t, done) })
	return cl
}

func request() *h2.Request { return &h2.Request{Scheme: "http", Authority: "app"} }

func post(body string) *invoke.Call {
	return &invoke.Call{Verb: "POST", Path: "/p", Major: 2, Body: invoke.BytesBody([]byte(body)), Length: int64(len(body))}
}

func roundTrip(ctx context.Context, cl *h2.Client, c *invoke.Call) (*invoke.Answer, error) {
	if err := cl.Reserve(ctx); err != nil {
		return nil, err
	}
	return cl.RoundTrip(ctx, c, request())
}

// text reads and closes an answer's body.
func text(t testing.TB, a *invoke.Answer) string {
	t.Helper()
	defer func() { _ = a.Body.Close() }()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatalf("body: %v after %q", err, clip(b))
	}
	return string(b)
}

func clip(b []byte) []byte { return b[:min(len(b), 64)] }

// stdServer is x/net's server with prior knowledge.
func stdServer(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	ln := listen(t)
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	srv := &http.Server{Handler: h, Protocols: &p}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); within.Receive(t, done) })
	return ln.Addr().String()
}

func code(err error) http2.ErrCode {
	if e, ok := errors.AsType[*h2.Error](err); ok {
		return e.Code
	}
	return 0xffff
}

func long(n int) string { return strings.Repeat("0123456789abcdef", n/16) }

// lines are fields: name, value, name, value.
func lines(pairs ...string) invoke.Fields {
	var fields invoke.Fields
	for i := 0; i < len(pairs); i += 2 {
		fields.Add(pairs[i], pairs[i+1])
	}
	return fields
}
