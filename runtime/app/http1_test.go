package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// speak serves each connection by handing every request's head to f, which
// gives the bytes to answer with; "" closes the connection.
func speak(t *testing.T, f func(head string) string) uint16 {
	t.Helper()
	return raw(t, func(c net.Conn) {
		for {
			head := readUntil(c, "\r\n\r\n")
			if head == "" {
				return
			}
			answer := f(head)
			if answer == "" {
				return
			}
			_, _ = io.WriteString(c, answer)
			if strings.Contains(answer, "Connection: close") {
				return
			}
		}
	})
}

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

// A byte leaves when it arrives, in both directions at once.
func TestFullDuplex(t *testing.T) {
	t.Parallel()
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		w.Header().Set("Trailer", "X-Echo")
		_ = control.Flush()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			if n > 0 {
				_, _ = w.Write(buf[:n])
				_ = control.Flush()
			}
			if err != nil {
				break
			}
		}
		w.Header().Set("X-Echo", r.Trailer.Get("X-Sent"))
	}))
	for _, protocol := range []string{"http", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			port := port
			if protocol == "h2c" {
				port = serveH2C(t, http.HandlerFunc(echoStream))
			}
			a, _ := runApp(t, app.Config{Port: port, Protocol: protocol})
			body := newPieces()
			body.trailers = fields("X-Sent", "end")
			c := &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: body, Length: -1, Fields: fields("Trailer", "X-Sent")}
			ans, err := a.Serve(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 100)
			for _, word := range []string{"one", "two", "three"} {
				body.parts <- word
				n, err := io.ReadFull(ans.Body, buf[:len(word)])
				if err != nil || string(buf[:n]) != word {
					t.Fatalf("after %q came %q, %v", word, buf[:n], err)
				}
			}
			close(body.parts)
			if rest, err := io.ReadAll(ans.Body); err != nil || len(rest) > 0 {
				t.Fatalf("the rest is %q, %v", rest, err)
			}
			if got := ans.Body.Trailers().Get("X-Echo"); got != "end" {
				t.Errorf("trailer = %q, want end", got)
			}
			<-body.closed
		})
	}
}

// An app that answers without reading the whole body is heard, and the sender
// is stopped.
func TestEarlyAnswerStopsTheSender(t *testing.T) {
	t.Parallel()
	port := raw(t, func(c net.Conn) {
		if readUntil(c, "\r\n\r\n") == "" {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
		_, _ = io.Copy(io.Discard, c)
	})
	a, _ := runApp(t, app.Config{Port: port})
	body := newPieces()
	go func() {
		for {
			select {
			case body.parts <- strings.Repeat("x", 1000):
			case <-body.closed:
				return
			}
		}
	}()
	ans, got := do(t, a, &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: body, Length: 1 << 40})
	if ans.Status != 413 || got != "big" {
		t.Errorf("answer = %d %q", ans.Status, got)
	}
	<-body.closed
}

// A body that never ends and cannot be closed while it is read, as net/http's,
// does not keep its call.
func TestEarlyAnswerToASilentSender(t *testing.T) {
	t.Parallel()
	port := speak(t, func(string) string { return "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n" })
	a, _ := runApp(t, app.Config{Port: port})
	body := newPieces()
	ans, _ := do(t, a, &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: body, Length: -1})
	if ans.Status != 403 {
		t.Errorf("status = %d", ans.Status)
	}
	<-body.closed
}

func TestCallersBodyBreaksOff(t *testing.T) {
	t.Parallel()
	complete := make(chan bool, 2)
	port := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		complete <- err == nil
	}))
	a, _ := runApp(t, app.Config{Port: port})
	for _, length := range []int64{10, -1} {
		body := newPieces()
		body.fault = io.ErrUnexpectedEOF
		go func() { body.parts <- "half"; close(body.parts) }()
		e := failed(t, a, &invoke.Call{Verb: "POST", Path: "/", Only: true, Body: body, Length: length})
		if e.Reason != apperr.Cancelled || e.At() != apperr.HopCaller || e.Reached != apperr.ReachedMaybe {
			t.Errorf("length %d: error = %s at %s, reached %s", length, e.Reason, e.At(), e.Reached)
		}
		if <-complete {
			t.Errorf("length %d: the app took half a body for a whole one", length)
		}
	}
}

func TestInformationalAnswers(t *testing.T) {
	t.Parallel()
	port := speak(t, func(string) string {
		return "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	})
	a, _ := runApp(t, app.Config{Port: port})
	var got []string
	c := get("/")
	c.Informational = func(status int, f invoke.Fields) error {
		got = append(got, fmt.Sprint(status, f.Get("link")))
		return nil
	}
	ans, _ := do(t, a, c)
	if ans.Status != 200 || strings.Join(got, " ") != "102 103</a>" {
		t.Errorf("got %d after %q", ans.Status, got)
	}
}

// The body is not asked for before the app asks for it, and not at all if the
// app answers instead.
func TestExpectContinue(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	port := raw(t, func(c net.Conn) {
		head := readUntil(c, "\r\n\r\n")
		switch {
		case strings.Contains(head, "/no"):
			_, _ = io.WriteString(c, "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
		case head != "":
			if !strings.Contains(head, "Expect: 100-continue\r\n") {
				return
			}
			close(asked)
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			body := readUntil(c, "hello")
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"+body)
		}
	})
	a, _ := runApp(t, app.Config{Port: port})
	early := atomic.Bool{}
	body := invoke.NewBody(io.NopCloser(readerFunc(func(p []byte) (int, error) {
		select {
		case <-asked:
		default:
			early.Store(true)
		}
		return copy(p, "hello"), io.EOF
	})), nil)
	var informed []int
	c := &invoke.Call{Verb: "PUT", Path: "/", Only: true, Expect: true, Body: body, Length: 5}
	c.Informational = func(status int, _ invoke.Fields) error { informed = append(informed, status); return nil }
	if ans, got := do(t, a, c); ans.Status != 200 || got != "hello" || early.Load() {
		t.Errorf("answer = %d %q; body read early: %v", ans.Status, got, early.Load())
	}
	if len(informed) != 1 || informed[0] != 100 {
		t.Errorf("informed of %v, want 100", informed)
	}
	untouched := newPieces()
	ans, _ := do(t, a, &invoke.Call{Verb: "PUT", Path: "/no", Only: true, Expect: true, Body: untouched, Length: 5})
	if ans.Status != 417 {
		t.Errorf("status = %d, want 417", ans.Status)
	}
	<-untouched.closed
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// The first event of a stream is there before the second one is made.
func TestStreamIsNotGathered(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}))
	a, _ := runApp(t, app.Config{Port: port})
	ans, err := a.Serve(t.Context(), get("/events"))
	if err != nil {
		t.Fatal(err)
	}
	defer ans.Body.Close()
	lines := bufio.NewScanner(ans.Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprint("data: ", i) || !lines.Scan() {
			t.Fatalf("event %d is %q", i, lines.Text())
		}
		next <- struct{}{}
	}
}

func TestUpgradeIsATunnel(t *testing.T) {
	t.Parallel()
	half := make(chan string, 1)
	port := raw(t, func(c net.Conn) {
		head := readUntil(c, "\r\n\r\n")
		if !strings.Contains(head, "Connection: Upgrade\r\nUpgrade: echo\r\n") {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-K: v\r\n\r\nhi ")
		all, _ := io.ReadAll(c) // until the client's half is closed
		half <- string(all)
		_, _ = io.WriteString(c, "you said "+string(all))
	})
	a, _ := runApp(t, app.Config{Port: port})
	c := get("/ws")
	c.Upgrade = "echo"
	ans, err := a.Serve(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if ans.Status != 101 || ans.Upgraded == nil || ans.Fields.Get("x-k") != "v" {
		t.Fatalf("answer = %+v", ans)
	}
	_, _ = io.WriteString(ans.Upgraded, "one")
	_, _ = io.WriteString(ans.Upgraded, " two")
	if err := ans.Upgraded.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := <-half; got != "one two" {
		t.Errorf("the app read %q", got)
	}
	all, err := io.ReadAll(ans.Body)
	if err != nil || string(all) != "hi you said one two" {
		t.Errorf("read %q, %v", all, err)
	}
	if a.Inflight() != 1 {
		t.Errorf("Inflight = %d before the tunnel is closed", a.Inflight())
	}
	_ = ans.Body.Close()
	_ = ans.Body.Close()
	if a.Inflight() != 0 {
		t.Errorf("Inflight = %d", a.Inflight())
	}
}

func TestUpgradeThatTheAppDeclines(t *testing.T) {
	t.Parallel()
	port := speak(t, func(string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno" })
	a, _ := runApp(t, app.Config{Port: port})
	c := get("/ws")
	c.Upgrade = "websocket"
	if ans, body := do(t, a, c); ans.Status != 200 || ans.Upgraded != nil || body != "no" {
		t.Errorf("answer = %+v %q", ans, body)
	}
}

// A cancelled call closes its connection at once, whether its answer is
// awaited or streams.
func TestCancelledCallLeavesTheApp(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{}, 2)
	started := make(chan struct{}, 2)
	port := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_ = http.NewResponseController(w).Flush()
		}
		started <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	}))
	for _, protocol := range []string{"http", "h2c"} {
		port := port
		if protocol == "h2c" {
			port = serveH2C(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/stream" {
					_ = http.NewResponseController(w).Flush()
				}
				started <- struct{}{}
				<-r.Context().Done()
				gone <- struct{}{}
			}))
		}
		a, _ := runApp(t, app.Config{Port: port, Protocol: protocol})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-started; cancel() }()
		_, err := a.Serve(ctx, get("/wait"))
		if !apperr.Is(err, apperr.Cancelled) || apperr.From(err).Reached != apperr.ReachedMaybe {
			t.Errorf("%s: Serve = %v", protocol, err)
		}
		<-gone
		ctx, cancel = context.WithCancel(t.Context())
		ans, err := a.Serve(ctx, get("/stream"))
		if err != nil {
			t.Fatal(err)
		}
		<-started
		cancel()
		if _, err := ans.Body.Read(make([]byte, 1)); !apperr.Is(err, apperr.Cancelled) {
			t.Errorf("%s: Read = %v", protocol, err)
		}
		<-gone
		if n := a.Inflight(); n != 0 {
			t.Errorf("%s: Inflight = %d", protocol, n)
		}
	}
}

func TestDeadlineSaysWhereTheTimeWent(t *testing.T) {
	t.Parallel()
	port := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	a, _ := runApp(t, app.Config{Port: port})
	waitFor(t, "ready", func() bool { return a.State() == "ready" })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := a.Serve(ctx, get("/"))
	e := apperr.From(err)
	if e.Reason != apperr.DeadlineExceeded || e.Reached != apperr.ReachedMaybe ||
		!strings.HasPrefix(e.Message(), "DEADLINE_EXCEEDED: context deadline exceeded after ") || !strings.HasSuffix(e.Message(), "of it in the app") {
		t.Errorf("error = %s, %s, reached %s", e.Reason, e.Message(), e.Reached)
	}
}

func TestAppThatHangsUp(t *testing.T) {
	t.Parallel()
	calls := atomic.Int32{}
	port := speak(t, func(head string) string {
		calls.Add(1)
		if strings.Contains(head, "/half") {
			return "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX: Connection: close\r\n\r\nhalf"
		}
		return ""
	})
	a, _ := runApp(t, app.Config{Port: port})
	e := failed(t, a, post("/", "x"))
	if e.Reason != apperr.AppGone || e.Reached != apperr.ReachedMaybe || !strings.HasPrefix(e.What, "orders closed the connection") {
		t.Errorf("error = %s, %s, reached %s", e.Reason, e.Message(), e.Reached)
	}
	if n := calls.Load(); n != 1 {
		t.Errorf("the app was called %d times", n)
	}
	ans, err := a.Serve(t.Context(), get("/half"))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(ans.Body); string(body) != "half" || !apperr.Is(err, apperr.AppGone) {
		t.Errorf("read %q, %v", body, err)
	}
}

// An app with an idle limit of 100 ms and POSTs at gaps around it: none fails,
// none is seen twice.
func TestIdleLimitLosesNoPost(t *testing.T) {
	t.Parallel()
	const clients, each = 40, 25
	var mu sync.Mutex
	seen := make(map[string]int)
	ln := listen(t)
	srv := &http.Server{IdleTimeout: 100 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[string(id)]++
		mu.Unlock()
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })

	var failures atomic.Int32
	var all sync.WaitGroup
	for client := range clients {
		a, _ := runApp(t, app.Config{Port: portOf(ln)})
		all.Go(func() {
			for n := range each {
				ans, err := a.Serve(t.Context(), post("/", fmt.Sprint(client, "/", n)))
				if err != nil {
					t.Error(err)
					failures.Add(1)
					continue
				}
				_, _ = io.Copy(io.Discard, ans.Body)
				_ = ans.Body.Close()
				gap := time.Duration(95_000+rand.IntN(10_000)) * time.Microsecond
				if rand.IntN(2) == 0 {
					gap = time.Duration(rand.IntN(200_000)) * time.Microsecond
				}
				time.Sleep(gap) // the gap is what is tested
			}
		})
	}
	all.Wait()
	if failures.Load() != 0 || len(seen) != clients*each {
		t.Errorf("%d failed, %d of %d arrived", failures.Load(), len(seen), clients*each)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was seen %d times", id, n)
		}
	}
}

// Connections are kept, and an app's close is seen while nobody calls.
func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	var opened, closed atomic.Int32
	ln := listen(t)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }),
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateActive: // a connection that only looks is never active
			case http.StateNew:
				opened.Add(1)
			case http.StateClosed:
				closed.Add(1)
			case http.StateIdle, http.StateHijacked:
			}
		},
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	a, _ := runApp(t, app.Config{Port: portOf(ln)})
	for n := range 50 {
		if n%2 == 0 {
			do(t, a, post("/", "some body"))
			continue
		}
		do(t, a, get("/"))
	}
	if n := opened.Load(); n > 3 { // the look, and one that carries calls
		t.Errorf("%d connections for 50 calls", n)
	}
}

// The connections of one app are bounded; who waits for one gets it.
func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("opens 1,024 connections")
	}
	var now, most atomic.Int32
	release := make(chan struct{})
	port := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := now.Add(1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		<-release
		now.Add(-1)
	}))
	a, _ := runApp(t, app.Config{Port: port})
	waitFor(t, "ready", func() bool { return a.State() == "ready" })
	var all sync.WaitGroup
	for range 1100 {
		all.Go(func() { do(t, a, get("/")) })
	}
	waitFor(t, "the app to be full", func() bool { return now.Load() == 1024 })
	close(release)
	all.Wait()
	if n := most.Load(); n != 1024 {
		t.Errorf("%d calls at once, want 1024", n)
	}
}
