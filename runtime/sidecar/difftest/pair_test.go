package difftest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/config"
)

// A pair is an app of a test's own, with two sidecars before it.
type pair struct {
	t      *testing.T
	caller rundir.Entry
}

// newPair serves an app's connections and starts both sidecars.
func newPair(t *testing.T, protocol string, serve func(net.Conn)) *pair {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	if protocol == "https" {
		ln = tls.NewListener(ln, selfSigned(t, false))
	}
	serveConns(t, ln, serve)
	w := newWorld(t)
	w.start(config.Sidecar{AppID: callee, AppPort: port, AppProtocol: protocol})
	return &pair{t, w.start(config.Sidecar{AppID: "caller"})}
}

// serveConns serves ln until the test ends, and waits for what serves it.
func serveConns(t *testing.T, ln net.Listener, serve func(net.Conn)) {
	var work sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			work.Go(func() {
				serve(c)
				_ = c.Close() // it has been served
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close() // nobody is served any more
		mu.Lock()
		for c := range open {
			_ = c.Close() // nobody is served any more
		}
		mu.Unlock()
		work.Wait()
	})
}

// newHTTPPair is a pair whose app is a handler of the standard library.
func newHTTPPair(t *testing.T, h http.Handler) *pair {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: patience}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(ln) // it ends when it is closed
	}()
	t.Cleanup(func() {
		_ = srv.Close() // whatever is left
		within.Receive(t, served)
	})
	w := newWorld(t)
	w.start(config.Sidecar{AppID: callee, AppPort: uint16(ln.Addr().(*net.TCPAddr).Port)})
	return &pair{t, w.start(config.Sidecar{AppID: "caller"})}
}

func (p *pair) address() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(p.caller.HTTPPort)))
}

// url is a method of the app as the caller addresses it.
func (p *pair) url(path string) string {
	return "http://" + p.address() + "/v1.0/invoke/" + callee + "/method" + path
}

func (p *pair) dial() net.Conn {
	p.t.Helper()
	c, err := new(net.Dialer).DialContext(p.t.Context(), "tcp", p.address())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	return c
}

// upgrade asks to switch to a protocol, and returns the connection behind it.
func (p *pair) upgrade(path, protocol string) *tunnelEnd {
	p.t.Helper()
	c := p.dial()
	_, err := io.WriteString(c, "GET /v1.0/invoke/"+callee+"/method"+path+" HTTP/1.1\r\nHost: localhost\r\n"+
		"Connection: Upgrade\r\nUpgrade: "+protocol+"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		p.t.Fatal(err)
	}
	br := bufio.NewReader(c)
	answer, err := http.ReadResponse(br, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		p.t.Fatalf("the upgrade to %s: %v %v", protocol, answer, err)
	}
	_ = answer.Body.Close() // there is none
	return &tunnelEnd{c, br}
}

// accept is the app's side of upgrade: it returns the connection behind it, and
// the path.
func accept(c net.Conn) (t *tunnelEnd, path string, err error) {
	br := bufio.NewReader(c)
	r, err := http.ReadRequest(br)
	if err != nil {
		return nil, "", err
	}
	_, err = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\n")
	return &tunnelEnd{c, br}, r.URL.Path, err
}

// A tunnelEnd is a connection behind an upgrade.
type tunnelEnd struct {
	net.Conn
	br *bufio.Reader
}

func (t *tunnelEnd) Read(p []byte) (int, error) { return t.br.Read(p) }

// client is one of the standard library's, without a pool of its own left
// behind.
func (p *pair) client() *http.Client {
	transport := &http.Transport{DisableCompression: true, ExpectContinueTimeout: patience}
	p.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// do makes a request of the standard library's client.
func (p *pair) do(ctx context.Context, method, path string, body io.Reader, fields ...string) *http.Response {
	p.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, p.url(path), body)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	answer, err := p.client().Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}
