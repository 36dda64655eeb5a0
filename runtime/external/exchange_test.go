package external_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/porttest"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/external"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func requireAny() *tls.Config { return &tls.Config{ClientAuth: tls.RequireAnyClientCert} }

// Both directions stream at once, over HTTP/1.1 and HTTP/2, with trailers both
// ways and a 103 before.
func TestBothDirectionsStream(t *testing.T) {
	t.Parallel()
	echo := handler(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("Trailer", "X-Back")
		_ = rc.Flush() // the head comes before anything is asked for
		buf := make([]byte, 16)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = rc.Flush()
			if err != nil {
				break
			}
		}
		w.Header().Set("X-Back", r.Proto+" "+r.Trailer.Get("X-Sum"))
	})
	plain := httptest.NewServer(echo)
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(echo)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	pool, _ := rootOf(secure)
	h := newHosts(t, external.Options{Roots: pool})
	for base, proto := range map[string]string{plain.URL: "HTTP/1.1", secure.URL: "HTTP/2.0"} {
		c := call(t, base, "POST", "/", "")
		from, to := io.Pipe()
		c.Body, c.Length = invoke.NewBody(from, func() invoke.Fields { return fields("x-sum", "42", "X-Not-Announced", "1") }), -1
		c.Fields = fields("Trailer", "X-Sum")
		hints, reached := 0, 0
		c.Informational = func(status int, f invoke.Fields) error {
			if status == 103 && f.Get("Link") == "</a>" {
				hints++
			}
			return nil
		}
		c.Reached = func() { reached++ }
		c.Timing = new(invoke.Timing)
		answer, err := h.Serve(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		for range 3 {
			go func() { _, _ = io.WriteString(to, "ping") }()
			if _, err := io.ReadFull(answer.Body, got); err != nil || string(got) != "ping" {
				t.Fatalf("%s: %q, %v", proto, got, err)
			}
		}
		if answer.Body.Trailers() != nil {
			t.Errorf("%s: trailers before the end", proto)
		}
		_ = to.Close()
		_, _ = io.ReadAll(answer.Body)
		if back := answer.Body.Trailers().Get("X-Back"); back != proto+" 42" || hints != 1 || reached != 1 || answer.Fields.Get("Trailer") != "X-Back" {
			t.Errorf("%s: trailers %q, %d hints, reached %d, fields %v", proto, back, hints, reached, answer.Fields)
		}
		if c.Timing.Connect <= 0 || c.Timing.App <= 0 || (c.Timing.TLS > 0) != (proto == "HTTP/2.0") {
			t.Errorf("%s: %+v", proto, *c.Timing)
		}
		_ = answer.Body.Close()
	}
}

func TestAnUpgradeIsATunnel(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(handler(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\n")
		_, _ = io.Copy(conn, rw)
		_ = conn.Close()
	}))
	t.Cleanup(s.Close)
	pool, _ := rootOf(s)
	c := call(t, s.URL, "GET", "/", "")
	c.Upgrade = "chat"
	answer, err := newHosts(t, external.Options{Roots: pool}).Serve(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Status != 101 || answer.Upgraded == nil || answer.Fields.Get("Upgrade") != "chat" {
		t.Fatalf("%+v", answer)
	}
	if _, err := io.WriteString(answer.Upgraded, "hello"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(answer.Body, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	_ = answer.Upgraded.CloseWrite()
	if rest, err := io.ReadAll(answer.Body); len(rest) > 0 || err != nil {
		t.Errorf("after the half-close: %q, %v", rest, err)
	}
	_ = answer.Body.Close()
}

func TestGRPCInClearTextIsHTTP2(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(handler(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto+" "+r.Header.Get("Te"))
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	c := call(t, s.URL, "POST", "/pkg.Service/Method", "x")
	c.Major = 2
	c.Fields = fields("content-type", "application/grpc")
	answer, _ := serve(t, newHosts(t, external.Options{}), c)
	if got := answer.Fields.Get("X-Proto"); got != "HTTP/2.0 trailers" {
		t.Errorf("%q", got)
	}
}

func TestAnswersComeAsTheyAre(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]invoke.Answer{
		okAnswer: {Status: 200, Length: 2},
		"HTTP/1.1 200 Fine by me\r\nContent-Length: 2\r\n\r\nok":                             {Status: 200, Length: 2, Phrase: "Fine by me"},
		"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n":                                         {Status: 404, Phrase: invoke.EmptyPhrase},
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n":                             {Status: 304, Length: 5},
		"HTTP/1.1 304 Not Modified\r\n\r\n":                                                  {Status: 304, Length: -1},
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n":          {Status: 200, Length: -1},
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08": {Status: 200, Length: 3},
	} {
		base, _ := wire(t, func(int, string) string { return said })
		answer, body := serve(t, newHosts(t, external.Options{}), call(t, base, "GET", "/", ""))
		if answer.Status != want.Status || answer.Length != want.Length || answer.Phrase != want.Phrase || answer.Major != 1 {
			t.Errorf("%q: %+v %q", said, answer, body)
		}
		if strings.Contains(said, "gzip") && body != "\x1f\x8b\x08" {
			t.Errorf("unpacked: %q", body)
		}
	}
}

// A host that closes its connection when a second request comes must not get
// that twice.
func TestAPostIsNeverRepeated(t *testing.T) {
	t.Parallel()
	base, heads := wire(t, func(n int, _ string) string {
		if n == 1 {
			return ""
		}
		return okAnswer
	})
	h := newHosts(t, external.Options{})
	serve(t, h, call(t, base, "POST", "/first", ""))
	got := refused(t, h, call(t, base, "POST", "/second", ""))
	if got.Reached != apperr.ReachedMaybe || got.At() != apperr.HopPeer || got.Reason != apperr.PeerGone {
		t.Errorf("%+v", got)
	}
	if within.Receive(t, heads); !strings.HasPrefix(within.Receive(t, heads), "POST /second") || len(heads) > 0 {
		t.Errorf("%d more requests", len(heads))
	}
}

func TestErrorsNameHopHostAndCause(t *testing.T) {
	t.Parallel()
	gone := porttest.Reserve(t).Addr()
	answering := func(said string) string {
		base, _ := wire(t, func(int, string) string { return said })
		return base
	}
	plain := answering("HTTP/1.1 400 Bad Request\r\n\r\n")
	for name, c := range map[string]struct {
		id      string
		reason  apperr.Reason
		hop     apperr.Hop
		reached apperr.Reached
		cause   string
	}{
		"nobody listens": {"http://" + gone, apperr.PeerUnreachable, apperr.HopNetwork, apperr.ReachedNo, "connection refused"},
		"closes":         {answering(""), apperr.PeerGone, apperr.HopPeer, apperr.ReachedMaybe, "the connection broke"},
		"no http":        {answering("SSH-2.0-x\r\n\r\n"), apperr.ProtocolError, apperr.HopPeer, apperr.ReachedMaybe, "no HTTP"},
		"a huge head":    {answering("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("x", 128<<10) + "\r\n\r\n"), apperr.HeadTooLarge, apperr.HopPeer, apperr.ReachedMaybe, "larger than"},
	} {
		got := refused(t, newHosts(t, external.Options{}), call(t, c.id, "POST", "/x?secret", "secret"))
		host := strings.TrimPrefix(c.id, "http://")
		if got.Reason != c.reason || got.At() != c.hop || got.Reached != c.reached || !strings.Contains(got.Message(), c.cause) ||
			!strings.Contains(got.Message(), host) || strings.Contains(got.Message(), "secret") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	got := refused(t, newHosts(t, external.Options{}), call(t, "https://"+plainTLS(t, plain), "GET", "/", ""))
	if got.At() != apperr.HopTLS || got.Reached != apperr.ReachedNo || !strings.Contains(got.Message(), "does not speak TLS") {
		t.Errorf("no TLS: %+v", got)
	}
}

// plainTLS is the address of a host that answers a handshake with HTTP.
func plainTLS(t *testing.T, _ string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = bufio.NewReader(conn).Peek(1)
		_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		_ = conn.Close()
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		within.Receive(t, done)
	})
	return ln.Addr().String()
}

func TestACallIsGivenUpWithItsContext(t *testing.T) {
	t.Parallel()
	arrived, left := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(handler(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(left)
	}))
	t.Cleanup(s.Close)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := newHosts(t, external.Options{}).Serve(ctx, call(t, s.URL, "GET", "/", ""))
	if e := apperr.From(err); e.Reason != apperr.Cancelled || e.Reached != apperr.ReachedMaybe {
		t.Errorf("%+v", e)
	}
	select {
	case <-left:
	case <-time.After(within.Patience):
		t.Error("the host was not told")
	}
}
