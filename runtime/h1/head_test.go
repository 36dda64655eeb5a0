package h1_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func TestAHeadArrivesAsItWasSent(t *testing.T) {
	t.Parallel()
	s := reflecting(t)
	for _, target := range []string{
		"/", "//a//b/", "/a/../b/./c", "/%2F%25%23", "/%zz%", "/é", "/a?b=%zz&c#d", "/" + strings.Repeat("p", 8<<10),
		"http://other:80/abs?x", "HTTP://other?x",
	} {
		w := dial(t, s.addr)
		w.send(t, "PrOp!FIND "+target+" HTTP/1.1\r\nhOST: h:1\r\nX-b: 1\r\nx-A:\t2 \r\nX-b:\r\nx-B: \xe9 \t3\r\nConnection: x-A\r\n\r\n")
		got := w.seen(t)
		host := "h:1"
		if target[0] != '/' {
			host, _, _ = strings.Cut(target[len("http://"):], "/")
			host, _, _ = strings.Cut(host, "?")
		}
		want := invoke.Fields{{Name: "X-b", Value: "1"}, {Name: "x-A", Value: "2"}, {Name: "X-b", Value: ""}, {Name: "x-B", Value: "\ufffd \t3"}, {Name: "Connection", Value: "x-A"}}
		if got.Verb != "PrOp!FIND" || got.Path != target || got.Host != host || !slices.Equal(got.Fields, want) {
			t.Errorf("%s: %+v", target, got)
		}
	}
}

func TestWhatIsNoPlainRequestIsGivenBackWhole(t *testing.T) {
	t.Parallel()
	s := serve(t, h1.Config{Handler: handler{
		take:  func(x *h1.Exchange) bool { return x.Head.Target != "/not-mine" },
		serve: reflect,
	}})
	for name, text := range map[string]string{
		"HTTP/0.9":            "GET /\r\n\r\n",
		"HTTP/1.0 upgrading":  "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
		"HTTP/2":              "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"CONNECT":             "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
		"asterisk":            "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
		"no Host":             "GET / HTTP/1.1\r\n\r\n",
		"odd Host":            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
		"user in the target":  "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
		"another expectation": post("Expect: x", "Content-Length: 1") + "a",
		"the same length":     post("Content-Length: 1", "Content-Length: 1") + "a",
		"another coding":      post("Transfer-Encoding: gzip, chunked") + "0\r\n\r\n",
		"an empty line first": "\r\n" + get,
		"a TLS client":        "\x16\x03\x01\x02\x00\x01",
		"the handler's no":    "POST /not-mine HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" + get,
	} {
		t.Run(name, func(t *testing.T) {
			w := dial(t, s.addr)
			w.send(t, get+text)
			w.seen(t)
			if g := within.Receive(t, s.given); string(g.Data) != text || g.HTTP2 != (name == "HTTP/2") {
				t.Errorf("%q was given back, HTTP/2 %v, want %q", g.Data, g.HTTP2, text)
			}
		})
	}
}

func TestWhatTwoParsersCouldReadInTwoWaysIsRefused(t *testing.T) {
	t.Parallel()
	s := reflecting(t)
	for name, text := range map[string]string{
		"length and chunked":    post("Content-Length: 4", "Transfer-Encoding: chunked") + "0\r\n\r\n" + get,
		"chunked and length":    post("Transfer-Encoding: chunked", "Content-Length: 4") + "0\r\n\r\n",
		"gzip and length":       post("Transfer-Encoding: gzip", "Content-Length: 4") + "abcd",
		"two lengths":           post("Content-Length: 4", "Content-Length: 5") + "abcde",
		"list of lengths":       post("Content-Length: 4, 4") + "abcd",
		"signed length":         post("Content-Length: +4") + "abcd",
		"empty length":          post("Content-Length:") + get,
		"length beyond int64":   post("Content-Length: 99999999999999999999"),
		"chunked twice":         post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + "0\r\n\r\n",
		"bare CR in a value":    post("X: a\rContent-Length: 4"),
		"bare CR as line end":   "POST /x HTTP/1.1\rHost: h\r\n\r\n",
		"bare LF as line end":   "POST /x HTTP/1.1\nHost: h\r\n\r\n",
		"bare LF ends the head": "POST /x HTTP/1.1\r\nHost: h\r\nX: a\n\r\n",
		"bare LFs only":         "GET /x HTTP/1.1\nHost: h\n\n",
		"folded line":           post("X: a", " b"),
		"folded with a tab":     post("X: a", "\tContent-Length: 4"),
		"folded first":          "GET /x HTTP/1.1\r\n Host: h\r\n\r\n",
		"blank before colon":    post("Content-Length : 4") + "abcd",
		"no colon":              post("Content-Length 4") + "abcd",
		"no name":               post(": 4") + "abcd",
		"name with a separator": post("Content(Length: 4") + "abcd",
		"null in a value":       post("X: a\x00b"),
		"delete in a value":     post("X: a\x7fb"),
		"two hosts":             post("Host: other"),
		"chunked in HTTP/1.0":   "POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"null, no end yet":      "GET /x HTTP/1.1\r\nX: \x00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := dial(t, s.addr)
			w.send(t, text)
			resp, body := w.response(t, "POST")
			if resp.StatusCode != 400 || resp.Header.Get("X-Refused") == "" || body == "" || !resp.Close {
				t.Errorf("%d %v %q", resp.StatusCode, resp.Header, body)
			}
			w.closed(t)
		})
	}
}

func TestAHeadMayComeInPieces(t *testing.T) {
	t.Parallel()
	s := reflecting(t)
	w := dial(t, s.addr)
	_ = w.SetNoDelay(true)
	for _, c := range post("X: 1", "Content-Length: 3") + "abc" + get {
		w.send(t, string(c))
	}
	if got := w.seen(t); got.Body != "abc" || got.Fields.Get("X") != "1" {
		t.Errorf("%+v", got)
	}
	if got := w.seen(t); got.Verb != "GET" {
		t.Errorf("%+v", got)
	}
}

func TestHeadsHaveALimit(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		limit int
		text  string
		want  int
	}{
		{0, post("X: " + long(60_000)), 200},
		{0, post("X: "+long(40_000), "Content-Length: 100") + long(100), 200},
		{0, post("X: " + long(66_000)), 431},
		{0, "GET /" + long(70_000), 431},
		{1 << 10, post("X: " + long(900)), 200},
		{1 << 10, post("X: " + long(1_000)), 431},
		{100 << 10, post("X: " + long(90_000)), 200},
	} {
		s := serve(t, h1.Config{Handler: handler{serve: reflect}, MaxHead: c.limit})
		w := dial(t, s.addr)
		w.send(t, c.text)
		if resp, body := w.response(t, "POST"); resp.StatusCode != c.want {
			t.Errorf("%d bytes of %d: %d %.100s, want %d", len(c.text), c.limit, resp.StatusCode, body, c.want)
		}
	}
}
