package httpapi_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func TestWhatTwoParsersCouldReadInTwoWaysIsRefused(t *testing.T) {
	t.Parallel()
	const post = "POST " + callX + " HTTP/1.1\r\nHost: localhost\r\n"
	for name, text := range map[string]string{
		"length and chunked":      post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"chunked and length":      post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
		"two lengths":             post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
		"list of lengths":         post + "Content-Length: 4, 4\r\n\r\nabcd",
		"signed length":           post + "Content-Length: +4\r\n\r\nabcd",
		"chunked twice":           post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked in HTTP/1.0":     "POST " + callX + " HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"bare CR in a value":      post + "X: a\rContent-Length: 4\r\n\r\n",
		"bare CR as line end":     "POST " + callX + " HTTP/1.1\rHost: localhost\r\n\r\n",
		"bare LF as line end":     "POST " + callX + " HTTP/1.1\nHost: localhost\r\n\r\n",
		"bare LF ends the head":   post + "X: a\n\r\n",
		"folded line":             post + "X: a\r\n b\r\n\r\n",
		"folded length":           post + "Content-Length:\r\n 4\r\n\r\nabcd",
		"blank before the colon":  post + "Content-Length : 4\r\n\r\nabcd",
		"null in a value":         post + "X: a\x00b\r\n\r\n",
		"two hosts":               post + "Host: other\r\n\r\n",
		"chunk size with sign":    post + "Transfer-Encoding: chunked\r\n\r\n+4\r\nabcd\r\n0\r\n\r\n",
		"chunk size with 0x":      post + "Transfer-Encoding: chunked\r\n\r\n0x4\r\nabcd\r\n0\r\n\r\n",
		"chunk size beyond int64": post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabcd\r\n0\r\n\r\n",
		"bare LF behind a chunk":  post + "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\n0\r\n\r\n",
		"bare LF in a chunk size": post + "Transfer-Encoding: chunked\r\n\r\n4\nabcd\r\n0\r\n\r\n",
		"chunk longer than said":  post + "Transfer-Encoding: chunked\r\n\r\n4\r\nabcde\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var smuggled atomic.Bool
			addr := serve(t, httpapi.Config{Invoke: invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
				if strings.Contains(c.Path, "smuggled") {
					smuggled.Store(true)
				}
				return reflectCall(ctx, c)
			})})
			w := dial(t, addr)
			w.send(t, text)
			resp, body := w.response(t, "POST")
			if resp.StatusCode != 400 {
				t.Errorf("%q: %d %s, want 400", text, resp.StatusCode, body)
			}
			w.closed(t)
			if smuggled.Load() {
				t.Error("a request was smuggled in")
			}
		})
	}
}

func TestOtherCodingsAreNotImplemented(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{})
	w := dial(t, addr)
	w.send(t, "POST "+callX+" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
	if resp, _ := w.response(t, "POST"); resp.StatusCode != 501 {
		t.Errorf("%d, want 501", resp.StatusCode)
	}
	w.closed(t)
}

func TestRequestsInOneGoAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{})
	const head = "POST /v1.0/invoke/app/method/%s HTTP/1.1\r\nHost: localhost\r\n"
	w := dial(t, addr)
	w.send(t, strings.ReplaceAll(head, "%s", "one")+"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc"+
		strings.ReplaceAll(head, "%s", "two")+"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2;ext=\"v\"\r\nde\r\n1 \r\nf\r\n0\r\nX-T: end\r\n\r\n"+
		strings.ReplaceAll(head, "%s", "three")+"\r\n"+
		strings.ReplaceAll(head, "%s", "four")+"X: a\r\n folded\r\n\r\n")
	for _, want := range [][3]string{{"/one", "abc"}, {"/two", "def", "end"}, {"/three", ""}} {
		_, body := w.response(t, "POST")
		got := reflected(t, body)
		if got.Path != want[0] || got.Body != want[1] || got.Trailers.Get("X-T") != want[2] {
			t.Errorf("got %+v, want %v", got, want)
		}
	}
	if resp, _ := w.response(t, "POST"); resp.StatusCode != 400 {
		t.Errorf("the folded one: %d, want 400", resp.StatusCode)
	}
	w.closed(t)
}

func TestHeadsHaveALimit(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{})
	resp, body := ask(t, addr, get("GET", callX, "X-Long: "+strings.Repeat("x", 60_000)))
	if resp.StatusCode != 200 {
		t.Errorf("60,000 bytes: %d %s", resp.StatusCode, body)
	}
	w := dial(t, addr)
	w.send(t, get("GET", callX, "X-Long: "+strings.Repeat("x", 70_000)))
	resp, body = w.response(t, "GET")
	if resp.StatusCode != 431 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("70,000 bytes: %d %v %s, want a plain 431", resp.StatusCode, resp.Header, body)
	}
	w.closed(t)
}
