package app_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

func TestAnswerFraming(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, verb, answer string
		status             int
		length             int64
		body, trailers     string
	}{
		{name: "length", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", status: 200, length: 5, body: "hello"},
		{name: "empty", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200},
		{name: "same length twice", answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", status: 200, length: 2, body: "ok"},
		{name: "no phrase", answer: "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", status: 200, length: 1, body: "x"},
		{name: "lone LF", answer: "HTTP/1.1 200 OK\nContent-Length: 1\n\nx", status: 200, length: 1, body: "x"},
		{name: "chunked", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", status: 200, length: -1, body: "abcde"},
		{name: "trailers", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\nx-End: yes\r\n\r\n", status: 200, length: -1, body: "a", trailers: "X-Sum=7 x-End=yes "},
		{name: "until the end", answer: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it", status: 200, length: -1, body: "all of it"},
		{name: "1.0", answer: "HTTP/1.0 200 OK\r\nX: Connection: close\r\n\r\nold", status: 200, length: -1, body: "old"},
		{name: "head", verb: "HEAD", answer: "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", status: 200, length: 500},
		{name: "head chunked", verb: "HEAD", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", status: 200, length: -1},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", status: 304, length: -1},
		{name: "304 with length", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", status: 304, length: 9},
		{name: "unknown status", answer: "HTTP/1.1 799 Odd\r\nContent-Length: 0\r\n\r\n", status: 799},
		{name: "length and chunked", answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", status: 200, length: -1, body: "a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			port := speak(t, func(string) string { return test.answer })
			a, _ := runApp(t, app.Config{Port: port})
			for range 2 { // the second one shows where the first one ended
				c := get("/")
				if test.verb != "" {
					c.Verb = test.verb
				}
				ans, body := do(t, a, c)
				trailers := ""
				for _, f := range ans.Body.Trailers() {
					trailers += f.Name + "=" + f.Value + " "
				}
				if ans.Status != test.status || ans.Length != test.length || body != test.body || trailers != test.trailers {
					t.Errorf("got %d, length %d, %q, trailers %q; want %d, %d, %q, %q",
						ans.Status, ans.Length, body, trailers, test.status, test.length, test.body, test.trailers)
				}
			}
		})
	}
}

func TestAnswerThatIsNotHTTP(t *testing.T) {
	t.Parallel()
	long := "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 70<<10) + "\r\n\r\n"
	for name, answer := range map[string]string{
		"garbage":        "220 ready\r\n\r\n",
		"http/2":         "HTTP/2.0 200 OK\r\n\r\n",
		"low status":     "HTTP/1.1 099 OK\r\n\r\n",
		"lengths differ": "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"minus length":   "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"coding":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"bare CR":        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
		"NUL":            "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
		"no colon":       "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n",
		"fold first":     "HTTP/1.1 200 OK\r\n X: y\r\n\r\n",
		"unasked 101":    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"long head":      long,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := speak(t, func(string) string { return answer })
			a, _ := runApp(t, app.Config{Port: port})
			e := failed(t, a, get("/"))
			if e.Reason != apperr.ProtocolError || e.Reached != apperr.ReachedMaybe || e.At() != apperr.HopApp {
				t.Errorf("error = %s, %s, reached %s at %s", e.Reason, e.Message(), e.Reached, e.At())
			}
		})
	}
}

func TestFoldedLineIsUnfolded(t *testing.T) {
	t.Parallel()
	port := speak(t, func(string) string {
		return "HTTP/1.1 200 OK\r\nX-Long: one\r\n\t two\r\nSpaced : y\r\nContent-Length: 0\r\n\r\n"
	})
	a, _ := runApp(t, app.Config{Port: port})
	ans, _ := do(t, a, get("/"))
	if want := fields("X-Long", "one two", "Spaced", "y"); !equalFields(ans.Fields, want) {
		t.Errorf("fields = %v, want %v", ans.Fields, want)
	}
}

// What cannot stand in a head is refused before a byte is sent.
func TestCallThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	seen := atomic.Int32{}
	port := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
	for _, protocol := range []string{"http", "h2c"} {
		a, _ := runApp(t, app.Config{Port: port, Protocol: protocol})
		for name, spoil := range map[string]func(*invoke.Call){
			"verb":    func(c *invoke.Call) { c.Verb = "GET /x HTTP/1.1\r\nA: b\r\n\r\nGET" },
			"connect": func(c *invoke.Call) { c.Verb = "CONNECT" },
			"path":    func(c *invoke.Call) { c.Path = "/a HTTP/1.1\r\nX: y" },
			"no path": func(c *invoke.Call) { c.Path = "" },
			"name":    func(c *invoke.Call) { c.Fields = fields("a\r\nb", "c") },
			"value":   func(c *invoke.Call) { c.Fields = fields("a", "c\r\nb: d") },
		} {
			c := get("/")
			spoil(c)
			if e := failed(t, a, c); e.Reached != apperr.ReachedNo {
				t.Errorf("%s, %s: reached %s: %v", protocol, name, e.Reached, e)
			}
		}
	}
	if n := seen.Load(); n != 0 {
		t.Errorf("the app saw %d of them", n)
	}
}

// pieces is a body that gives what is sent to it.
type pieces struct {
	parts    chan string
	closed   chan struct{}
	once     sync.Once
	rest     string
	trailers invoke.Fields
	fault    error // after the last part; nil is io.EOF
	ended    bool
}

func newPieces() *pieces { return &pieces{parts: make(chan string), closed: make(chan struct{})} }

func (p *pieces) Read(b []byte) (int, error) {
	if p.rest == "" {
		select {
		case part, ok := <-p.parts:
			if !ok {
				p.ended = true
				if p.fault != nil {
					return 0, p.fault
				}
				return 0, io.EOF
			}
			p.rest = part
		case <-p.closed:
			return 0, io.ErrClosedPipe
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

func (p *pieces) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pieces) Trailers() invoke.Fields {
	if !p.ended {
		return nil
	}
	return p.trailers
}

// A length without a body would make the next call on the connection that
// body.
func TestCallWithoutBodyAnnouncesNone(t *testing.T) {
	t.Parallel()
	heads := make(chan string, 1)
	port := speak(t, func(head string) string {
		heads <- head
		return "HTTP/1.1 204 No Content\r\n\r\n"
	})
	a, _ := runApp(t, app.Config{Port: port})
	for _, length := range []int64{10, -1} {
		c := post("/", "")
		c.Body, c.Length = nil, length
		do(t, a, c)
		if head := within.Receive(t, heads); !strings.Contains(head, "\r\nContent-Length: 0\r\n") {
			t.Errorf("with a length of %d: %q", length, head)
		}
	}
}
