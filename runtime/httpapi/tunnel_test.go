package httpapi_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// upgrading answers 101 and gives the test the app's end of the tunnel.
func upgrading(ends chan<- *net.TCPConn) invoke.Handler {
	return invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Upgrade == "" {
			return &invoke.Answer{Status: 200, Body: invoke.BytesBody([]byte("plain")), Length: 5}, nil
		}
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		defer func() { _ = ln.Close() }()
		mine, err := net.DialTCP("tcp", nil, ln.Addr().(*net.TCPAddr))
		if err != nil {
			return nil, err
		}
		app, err := ln.AcceptTCP()
		if err != nil {
			return nil, err
		}
		ends <- app
		return &invoke.Answer{
			Status: 101, Body: invoke.NewBody(mine, nil), Length: -1, Upgraded: mine,
			Fields: invoke.Fields{{Name: "Upgrade", Value: c.Upgrade}, {Name: "Sec-WebSocket-Accept", Value: "x"}, {Name: "Evil", Value: "a\r\nInjected: 1"}},
		}, nil
	})
}

func TestUpgradesAreTunnelledWithHalfClose(t *testing.T) {
	t.Parallel()
	ends := make(chan *net.TCPConn, 1)
	addr := serve(t, httpapi.Config{Invoke: upgrading(ends)})
	w := dial(t, addr)
	// What follows the head at once is the tunnel's, though it is no HTTP.
	w.send(t, get("GET", callX, "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k")+"\n early\r")
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Sec-WebSocket-Accept") != "x" || resp.Header.Get("Injected") != "" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	app := within.Receive(t, ends)
	defer func() { _ = app.Close() }()
	_ = app.SetDeadline(time.Now().Add(patience))
	got := make([]byte, len("\n early\r"))
	if _, err := io.ReadFull(app, got); err != nil || string(got) != "\n early\r" {
		t.Fatalf("early bytes: %q, %v", got, err)
	}
	if _, err := io.WriteString(app, "from app"); err != nil {
		t.Fatal(err)
	}
	got = make([]byte, len("from app"))
	if _, err := io.ReadFull(w.r, got); err != nil || string(got) != "from app" {
		t.Fatalf("down: %q, %v", got, err)
	}
	w.send(t, "last words")
	if err := w.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	up, err := io.ReadAll(app)
	if err != nil || string(up) != "last words" {
		t.Errorf("up: %q, %v", up, err)
	}
	if _, err := io.WriteString(app, "answer"); err != nil {
		t.Errorf("the other direction has ended too: %v", err)
	}
	_ = app.Close()
	down, err := io.ReadAll(w.r)
	if err != nil || string(down) != "answer" {
		t.Errorf("down: %q, %v", down, err)
	}
}

func TestARefusedUpgradeLeavesTheConnectionGuarded(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{Invoke: answerWith(invoke.Answer{Status: 426, Length: 0}, "")})
	w := dial(t, addr)
	w.send(t, get("GET", callX, "Connection: Upgrade", "Upgrade: websocket")+get("GET", "/v1.0/healthz")+"GET / HTTP/1.1\nHost: localhost\n\n")
	for _, want := range []int{426, 204, 400} {
		if resp, _ := w.response(t, "GET"); resp.StatusCode != want {
			t.Errorf("%d, want %d", resp.StatusCode, want)
		}
	}
	w.closed(t)
}

// A client that asked for no other protocol would take the tunnel's bytes for
// answers.
func TestAnUpgradeNobodyAskedForIsAnError(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{Invoke: invoke.HandlerFunc(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		mine, apps := net.Pipe()
		_ = apps.Close()
		return &invoke.Answer{
			Status: 101, Body: invoke.NewBody(mine, nil), Length: -1, Upgraded: half{mine},
			Fields: invoke.Fields{{Name: "Upgrade", Value: "evil"}},
		}, nil
	})})
	for _, lines := range [][]string{nil, {"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"}, {"Upgrade: websocket"}} {
		resp, body := ask(t, addr, get("GET", callX, lines...))
		if resp.StatusCode != 500 || resp.Header.Get("Pillion-Error") != "PROTOCOL_ERROR" {
			t.Errorf("%q: %d %s", lines, resp.StatusCode, body)
		}
	}
}

type half struct{ net.Conn }

func (half) CloseWrite() error { return nil }

func TestStoppingEndsTunnels(t *testing.T) {
	t.Parallel()
	ends := make(chan *net.TCPConn, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := serveOn(t, httpapi.Config{Invoke: upgrading(ends)}, ln)
	w := dial(t, ln.Addr().String())
	w.send(t, get("GET", callX, "Connection: Upgrade", "Upgrade: websocket"))
	if _, err := http.ReadResponse(w.r, nil); err != nil {
		t.Fatal(err)
	}
	app := within.Receive(t, ends)
	stop()
	_ = app.SetDeadline(time.Now().Add(patience))
	if _, err := app.Read(make([]byte, 1)); err == nil {
		t.Error("the tunnel is still open")
	}
	_ = app.Close()
}
