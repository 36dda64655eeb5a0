//go:build unix

package h1_test

import (
	"context"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/h1"
)

// A client whose connection cannot go on behind an early answer is told so in
// the answer: otherwise it would send its next request, which would be lost.
func TestAnEarlyAnswerSaysThatTheConnectionEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text    string
		reading bool // somebody waits for the client when the answer is given
		ends    bool
	}{
		"nobody reads, far too long": {text: post("Content-Length: 1000000") + strings.Repeat("x", 100_000), ends: true},
		"somebody reads":             {text: post("Content-Length: 100000") + "x", reading: true, ends: true},
		"somebody reads chunks":      {text: post("Transfer-Encoding: chunked") + "1\r\nx\r\n", reading: true, ends: true},
		"nobody reads, short":        {text: post("Content-Length: 100000") + strings.Repeat("x", 100_000)},
		"nobody reads, long chunks": {
			text: post("Transfer-Encoding: chunked") + strings.Repeat("2000\r\n"+strings.Repeat("x", 0x2000)+"\r\n", 60) + "0\r\n\r\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) {
				if x.Call.Body == nil {
					reflect(ctx, x)
					return
				}
				if c.reading {
					_, _ = x.Call.Body.Read(make([]byte, 1))
					begun, done := make(chan struct{}), make(chan struct{})
					defer func() { <-done }()
					go func() {
						defer close(done)
						close(begun)
						_, _ = x.Call.Body.Read(make([]byte, 1))
					}()
					<-begun
				}
				_ = x.Reply(h1.Reply{Status: 413})
			}}})
			// ends reports whether the answer says so, and holds it to that.
			ends := func() bool {
				w := dial(t, s.addr)
				defer func() { _ = w.Close() }()
				w.send(t, c.text)
				resp, _ := w.response(t, "POST")
				if resp.StatusCode != 413 {
					t.Errorf("status %d, want 413", resp.StatusCode)
				}
				switch {
				case resp.Close || c.reading && c.ends:
					w.closed(t)
				default:
					w.send(t, get)
					w.seen(t)
				}
				return resp.Close
			}
			if c.ends {
				if !ends() && !c.reading {
					t.Error("the answer does not say that the connection ends")
				}
				return
			}
			// What is late by a tenth of a second is not waited for: on a busy
			// machine that may happen once, but not always.
			within.Until(t, "the connection to go on", func() bool { return !ends() })
		})
	}
}
