package app_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// shown is an exchange's answer as one text.
func shown(t testing.TB, a *app.App, c *invoke.Call) string {
	t.Helper()
	var out strings.Builder
	c.Informational = func(status int, f invoke.Fields) error {
		fmt.Fprintln(&out, status, f)
		return nil
	}
	ans, err := a.Serve(within.Context(t), c)
	if err != nil {
		return out.String() + apperr.From(err).Message()
	}
	body, err := io.ReadAll(ans.Body)
	fmt.Fprintf(&out, "%d %q %v length %d %q, trailers %v, %v", ans.Status, ans.Phrase, ans.Fields, ans.Length, body, ans.Body.Trailers(), err)
	_ = ans.Body.Close()
	return out.String()
}

// However an answer is cut on its way, it is the same answer, and the
// connection ends where it should.
func TestAnswerComesInAnyPieces(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ answer, want string }{
		"length": {
			"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 5\r\n\r\nhello",
			`200 "" [{X y}] length 5 "hello", trailers [], <nil>`,
		},
		"chunks": {
			"HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n",
			`200 "Fine" [] length -1 "abc0123456789", trailers [], <nil>`,
		},
		"trailers": {
			"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\nx-End: yes\r\n\r\n",
			`200 "" [{Trailer X-Sum}] length -1 "a", trailers [{X-Sum 7} {x-End yes}], <nil>`,
		},
		"no body": {
			"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
			`204 "" [{X y}] length 0 "", trailers [], <nil>`,
		},
		"interim": {
			"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
			"102 []\n103 [{Link </a>}]\n" + `200 "" [] length 2 "ok", trailers [], <nil>`,
		},
		"folded, lone LF, blanks": {
			"\r\nHTTP/1.1 404 \nX-Long: one\r\n\t two\n Y \r\nSpaced : y\r\nEmpty:\r\nContent-Length:\r\n 1\r\n\nx",
			`404 " " [{X-Long one two Y} {Spaced y} {Empty }] length 1 "x", trailers [], <nil>`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := make(chan int, 1)
			port := raw(t, func(c net.Conn) {
				for readUntil(c, "\r\n\r\n") != "" {
					n := <-at
					if n < 0 { // each byte by itself
						for i := range test.answer {
							_, _ = io.WriteString(c, test.answer[i:i+1])
						}
						continue
					}
					_, _ = io.WriteString(c, test.answer[:n])
					_, _ = io.WriteString(c, test.answer[n:])
				}
			})
			a, _ := runApp(t, app.Config{Port: port})
			for n := -1; n < len(test.answer); n++ {
				at <- n
				if got := shown(t, a, get("/")); got != test.want {
					t.Fatalf("cut at %d: %s\nwant %s", n, got, test.want)
				}
			}
		})
	}
}

// What comes behind an answer belongs to no call.
func TestBytesBehindAnAnswerAreNobodys(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"chunks":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"no body": "HTTP/1.1 204 No Content\r\n\r\n",
	} {
		port := speak(t, func(string) string { return answer + "HTTP/1.1 500 Smuggled\r\nContent-Length: 0\r\n\r\n" })
		a, _ := runApp(t, app.Config{Port: port})
		for range 5 {
			if ans, _ := do(t, a, get("/")); ans.Status >= 500 {
				t.Fatalf("%s: a call got what was left of another one's answer", name)
			}
		}
	}
}

func TestPhraseIsCarried(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"200 OK":                    "",
		"200":                       invoke.EmptyPhrase,
		"200 ":                      invoke.EmptyPhrase,
		"413 Payload Too Large":     "Payload Too Large",
		"299 Très bien":             "Très bien",
		"404 Not\x01Found":          "",
		"500 Internal server error": "Internal server error",
	} {
		port := speak(t, func(string) string { return "HTTP/1.1 " + line + "\r\nContent-Length: 0\r\n\r\n" })
		a, _ := runApp(t, app.Config{Port: port})
		if ans, _ := do(t, a, get("/")); ans.Phrase != want {
			t.Errorf("%q gives the phrase %q, want %q", line, ans.Phrase, want)
		}
	}
}

// A head may take 64 KiB, however many lines that is.
func TestLargeHeads(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&many, "X-%d: %d\r\n", i, i)
	}
	for name, lines := range map[string]string{
		"one line":   "X: " + strings.Repeat("a", 65_000) + "\r\n",
		"many lines": many.String(),
	} {
		port := speak(t, func(string) string {
			return "HTTP/1.1 200 OK\r\n" + lines + "Content-Length: 2\r\n\r\nok"
		})
		a, _ := runApp(t, app.Config{Port: port})
		c := get("/")
		c.Fields = fields("Y", strings.Repeat("b", 60_000))
		ans, body := do(t, a, c)
		total := 0
		for _, f := range ans.Fields {
			total += len(f.Name) + len(f.Value) + len(": \r\n")
		}
		if body != "ok" || total != len(lines) {
			t.Errorf("%s: %q, %d bytes of lines, want %d", name, body, total, len(lines))
		}
	}
}

// sent is what an app gets for a call, as many bytes as want has.
func sent(t *testing.T, c *invoke.Call, want string) string {
	t.Helper()
	got := make(chan string, 1)
	ln := listen(t)
	port := itoa(portOf(ln))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			text := make([]byte, len(strings.ReplaceAll(want, "PORT", port)))
			if _, err := io.ReadFull(conn, text); err == nil { // not the look whether the port is open
				got <- strings.ReplaceAll(string(text), port, "PORT")
				_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); within.Receive(t, done) })
	a, _ := runApp(t, app.Config{Port: portOf(ln)})
	do(t, a, c)
	return within.Receive(t, got)
}

// trailed is a body that is there with its trailers.
type trailed struct {
	invoke.Body
	data     []byte
	trailers invoke.Fields
}

func (b trailed) Complete() ([]byte, invoke.Fields, bool) { return b.data, b.trailers, true }

// A body that is there is framed as one that comes.
func TestWholeBodyOnTheWire(t *testing.T) {
	t.Parallel()
	const head = "POST / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"
	for name, test := range map[string]struct {
		body   invoke.Body
		length int64
		want   string
	}{
		"length":            {invoke.BytesBody([]byte("hello")), 5, head + "Content-Length: 5\r\n\r\nhello"},
		"empty":             {invoke.BytesBody(nil), 0, head + "Content-Length: 0\r\n\r\n"},
		"chunked":           {invoke.BytesBody([]byte("hello")), -1, head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		"nothing in chunks": {invoke.BytesBody(nil), -1, head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		"trailers": {
			trailed{invoke.BytesBody(nil), []byte("a"), fields("X-Sum", "1", "Content-Length", "9", "x-Last", "z")},
			-1,
			head + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nx-Last: z\r\n\r\n",
		},
		"large": {
			invoke.BytesBody([]byte(strings.Repeat("0123456789", 5000))), 50_000,
			head + "Content-Length: 50000\r\n\r\n" + strings.Repeat("0123456789", 5000),
		},
		"large chunk": {
			invoke.BytesBody([]byte(strings.Repeat("0123456789", 5000))), -1,
			head + "Transfer-Encoding: chunked\r\n\r\nc350\r\n" + strings.Repeat("0123456789", 5000) + "\r\n0\r\n\r\n",
		},
		"more than is sent at once": {
			invoke.BytesBody([]byte(strings.Repeat("0123456789", 9000))), 90_000,
			head + "Content-Length: 90000\r\n\r\n" + strings.Repeat("0123456789", 9000),
		},
	} {
		c := &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: test.body, Length: test.length}
		if got := sent(t, c, test.want); got != test.want {
			t.Errorf("%s: %d bytes %.300q, want %d bytes %.300q", name, len(got), got, len(test.want), test.want)
		}
	}
}

// A body that is shorter or longer than its length never passes for a whole
// one.
func TestWholeBodyOfAnotherLength(t *testing.T) {
	t.Parallel()
	port := speak(t, func(string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" })
	a, _ := runApp(t, app.Config{Port: port})
	c := post("/", "hello")
	c.Length = 10
	ans, err := a.Serve(within.Context(t), c)
	if err == nil { // the app answered before it missed the rest
		_ = ans.Body.Close()
		return
	}
	if e := apperr.From(err); e.Reason != apperr.Cancelled || e.At() != apperr.HopCaller {
		t.Errorf("%s at %s", e.Reason, e.At())
	}
}
