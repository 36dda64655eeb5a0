package h1_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// answering answers with what f makes.
func answering(t *testing.T, f func() *invoke.Answer) *site {
	t.Helper()
	return serve(t, h1.Config{Handler: handler{serve: func(_ context.Context, x *h1.Exchange) { _ = x.Answer(f()) }}})
}

// streamed is a body that is not there yet.
func streamed(text string, trailers invoke.Fields) invoke.Body {
	return invoke.NewBody(io.NopCloser(strings.NewReader(text)), func() invoke.Fields { return trailers })
}

func TestAnAnswerIsWrittenAsItIs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 10_000)
	ok := func(body string) invoke.Body { return invoke.BytesBody([]byte(body)) }
	for name, c := range map[string]struct {
		method string
		answer invoke.Answer
		want   string
	}{
		"fields": {"GET", invoke.Answer{Status: 201, Length: 2, Body: ok("hi"), Fields: invoke.Fields{
			{Name: "x-B", Value: "1"}, {Name: "Set-Cookie", Value: "a"}, {Name: "X-A", Value: ""}, {Name: "set-cookie", Value: "b\xe9"},
		}}, "HTTP/1.1 201 Created\r\nx-B: 1\r\nSet-Cookie: a\r\nX-A: \r\nset-cookie: b\xe9\r\nContent-Length: 2\r\n\r\nhi"},
		"what cannot stand in a line": {"GET", invoke.Answer{Status: 200, Body: ok(""), Fields: invoke.Fields{
			{Name: "A", Value: "1\r\nB: 2"},
			{Name: "C\r\nD", Value: "3"},
			{Name: "", Value: "4"},
			{Name: "E:", Value: "5"},
			{Name: "F", Value: "6\x00"},
			{Name: "content-length", Value: "9"},
			{Name: "Transfer-Encoding", Value: "chunked"},
			{Name: "CONNECTION", Value: "close"},
			{Name: "G", Value: "7"},
		}}, "HTTP/1.1 200 OK\r\nG: 7\r\nContent-Length: 0\r\n\r\n"},
		"phrase":             {"GET", invoke.Answer{Status: 200, Phrase: "Fine", Body: ok("")}, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n"},
		"empty phrase":       {"GET", invoke.Answer{Status: 200, Phrase: invoke.EmptyPhrase, Body: ok("")}, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"},
		"phrase of two":      {"GET", invoke.Answer{Status: 200, Phrase: "A\r\nB: c", Body: ok("")}, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"},
		"unknown status":     {"GET", invoke.Answer{Status: 799, Body: ok("")}, "HTTP/1.1 799 \r\nContent-Length: 0\r\n\r\n"},
		"chunked":            {"GET", invoke.Answer{Status: 200, Length: -1, Body: ok("hi")}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
		"chunked and empty":  {"GET", invoke.Answer{Status: 200, Length: -1, Body: ok("")}, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		"streamed":           {"GET", invoke.Answer{Status: 200, Length: 3, Body: streamed("abc", nil)}, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"},
		"more than was said": {"GET", invoke.Answer{Status: 200, Length: 3, Body: streamed("abcdef", nil)}, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"},
		"whole, but longer":  {"GET", invoke.Answer{Status: 200, Length: 3, Body: ok("abcdef")}, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"},
		"long":               {"GET", invoke.Answer{Status: 200, Length: 100_000, Body: ok(long)}, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + long},
		"trailers": {"GET", invoke.Answer{
			Status: 200, Length: -1, Fields: invoke.Fields{{Name: "Trailer", Value: "x"}},
			Body: streamed("abc", invoke.Fields{{Name: "x", Value: "1"}, {Name: "Y", Value: "2\n"}, {Name: "Content-Length", Value: "3"}}),
		}, "HTTP/1.1 200 OK\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: 1\r\n\r\n"},
		"HEAD":                {"HEAD", invoke.Answer{Status: 200, Length: 5000, Body: ok("")}, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"},
		"HEAD without length": {"HEAD", invoke.Answer{Status: 200, Length: -1, Body: ok("")}, "HTTP/1.1 200 OK\r\n\r\n"},
		"204":                 {"GET", invoke.Answer{Status: 204, Length: 0, Body: ok("")}, "HTTP/1.1 204 No Content\r\n\r\n"},
		"204 with a body":     {"GET", invoke.Answer{Status: 204, Length: 3, Body: ok("abc")}, "HTTP/1.1 204 No Content\r\n\r\n"},
		"304":                 {"GET", invoke.Answer{Status: 304, Length: 7, Body: ok("")}, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"},
		"304 without length":  {"GET", invoke.Answer{Status: 304, Length: -1, Body: ok("")}, "HTTP/1.1 304 Not Modified\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := answering(t, func() *invoke.Answer { a := c.answer; return &a })
			w := dial(t, s.addr)
			w.send(t, c.method+" / HTTP/1.1\r\nHost: h\r\n\r\n")
			got := make([]byte, len(c.want))
			if n, err := io.ReadFull(w.r, got); string(got) != c.want {
				t.Fatalf("%.200q, %v, want %.200q", got[:n], err, c.want)
			}
			w.send(t, c.method+" / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n")
			rest, err := io.ReadAll(w.r)
			if !strings.HasPrefix(string(rest), "HTTP/1.1 ") || !strings.Contains(string(rest), "\r\nConnection: close\r\n\r\n") || err != nil {
				t.Errorf("the second one: %.200q, %v", rest, err)
			}
		})
	}
}

func TestASmallAnswerIsOneWrite(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]int64{"length": 10_000, "chunked": -1} {
		s := answering(t, func() *invoke.Answer {
			return &invoke.Answer{Status: 200, Length: length, Body: invoke.BytesBody(make([]byte, 10_000))}
		})
		w := dial(t, s.addr)
		for range 10 {
			w.send(t, post("Content-Length: 3")+"abc")
			w.response(t, "POST")
		}
		if got := s.writes.Load(); got != 10 {
			t.Errorf("%s: %d writes for 10 answers", name, got)
		}
	}
}

// An event stream has no sign but that its pieces come one by one.
func TestEachPieceLeavesWhenItComes(t *testing.T) {
	t.Parallel()
	r, app := io.Pipe()
	s := answering(t, func() *invoke.Answer {
		return &invoke.Answer{Status: 200, Length: -1, Body: invoke.NewBody(r, nil)}
	})
	w := dial(t, s.addr)
	w.send(t, get)
	resp, err := http.ReadResponse(w.r, nil) // before there is a byte
	if err != nil {
		t.Fatal(err)
	}
	body := bufio.NewReader(resp.Body)
	for _, event := range []string{"data: 1\n", "data: " + strings.Repeat("x", 100_000) + "\n", "data: 3\n"} {
		go func() { _, _ = io.WriteString(app, event) }()
		if got, err := body.ReadString('\n'); got != event {
			t.Fatalf("%.50q, %v", got, err)
		}
	}
	_ = app.Close()
	if _, err := body.ReadByte(); err != io.EOF {
		t.Errorf("behind it: %v", err)
	}
}

func TestAnAnswerThatBreaksOffIsNotTakenForComplete(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]func() *invoke.Answer{
		"chunked": func() *invoke.Answer { return &invoke.Answer{Status: 200, Length: -1, Body: breaking("half")} },
		"length":  func() *invoke.Answer { return &invoke.Answer{Status: 200, Length: 10, Body: breaking("half")} },
		"short":   func() *invoke.Answer { return &invoke.Answer{Status: 200, Length: 10, Body: streamed("half", nil)} },
		"whole": func() *invoke.Answer {
			return &invoke.Answer{Status: 200, Length: 10, Body: invoke.BytesBody([]byte("half"))}
		},
	} {
		w := dial(t, answering(t, a).addr)
		w.send(t, get)
		resp, err := http.ReadResponse(w.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(resp.Body); string(data) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %q, %v, want an unexpected end", name, data, err)
		}
	}
}

func breaking(text string) invoke.Body {
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, text)
		_ = w.CloseWithError(errors.New("gone"))
	}()
	return invoke.NewBody(r, nil)
}

func TestInformationalAnswersComeFirst(t *testing.T) {
	t.Parallel()
	var late func(int, invoke.Fields) error
	s := serve(t, h1.Config{Handler: handler{serve: func(_ context.Context, x *h1.Exchange) {
		late = x.Call.Informational
		for _, status := range []int{103, 102, 100, 101, 99, 200} {
			_ = late(status, invoke.Fields{{Name: "Link", Value: "</a>"}, {Name: "Content-Length", Value: "5"}})
		}
		_ = x.Reply(h1.Reply{Status: 200})
		_ = late(103, nil)
	}}})
	w := dial(t, s.addr)
	w.send(t, strings.Replace(get, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
	got, err := io.ReadAll(w.r)
	const want = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\nLink: </a>\r\n\r\n" +
		"HTTP/1.1 100 Continue\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	if string(got) != want || err != nil {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// Both bodies at once, in step.
func TestBothBodiesStreamAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := serve(t, h1.Config{Handler: handler{serve: func(_ context.Context, x *h1.Exchange) {
		_ = x.Answer(&invoke.Answer{Status: 200, Length: -1, Body: invoke.NewBody(x.Call.Body, x.Call.Body.Trailers)})
	}}})
	w := dial(t, s.addr)
	w.send(t, post("Transfer-Encoding: chunked"))
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{"1\r\na\r\n", "3\r\nbcd\r\n"} {
		w.send(t, piece)
		got := make([]byte, piece[0]-'0')
		if _, err := io.ReadFull(resp.Body, got); err != nil || !strings.Contains(piece, string(got)) {
			t.Fatalf("%q, %v", got, err)
		}
	}
	w.send(t, "0\r\nX: 1\r\n\r\n"+get)
	if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil || resp.Trailer.Get("X") != "1" {
		t.Errorf("%q, %v, trailers %v", rest, err, resp.Trailer)
	}
}

func TestAnUpgradeBecomesATunnel(t *testing.T) {
	t.Parallel()
	s := serve(t, h1.Config{Handler: handler{serve: func(ctx context.Context, x *h1.Exchange) {
		early, err := x.Switch(invoke.Fields{{Name: "Upgrade", Value: x.Head.Upgrade}})
		if err != nil {
			return
		}
		_, _ = x.Conn().Write(early)
		_, _ = io.Copy(x.Conn(), x.Conn()) // until the client's half-close
		if ctx.Err() != nil {
			t.Error("a half-close ended the call")
		}
		_, _ = io.WriteString(x.Conn(), "bye")
	}}})
	w := dial(t, s.addr)
	w.send(t, "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, UPGRADE\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n\n early\r")
	w.send(t, " and late")
	_ = w.CloseWrite()
	got, err := io.ReadAll(w.r)
	if want := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: a, b\r\n\r\n\n early\r and latebye"; string(got) != want || err != nil {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestHTTP10GetsWhatItKnows(t *testing.T) {
	t.Parallel()
	s := serve(t, h1.Config{Handler: handler{serve: func(_ context.Context, x *h1.Exchange) {
		if x.Call.Informational != nil || x.Call.Expect {
			t.Error("HTTP/1.0 is told of 1xx answers")
		}
		a := &invoke.Answer{Status: 200, Length: 3, Body: streamed("abc", nil)}
		switch x.Head.Target {
		case "/whole":
			a.Length, a.Body = -1, invoke.BytesBody([]byte("abc"))
		case "/streamed":
			a.Length, a.Body = -1, streamed("abc", invoke.Fields{{Name: "X", Value: "1"}})
		}
		_ = x.Answer(a)
	}}})
	const kept = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc"
	const closed = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
	const endless = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"
	for text, want := range map[string]string{
		"GET / HTTP/1.0\r\n\r\n": closed,
		"GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\n\r\n":                    kept + closed,
		"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n":                                   closed,
		"POST /whole HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na":                endless,
		"GET /streamed HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n": endless,
	} {
		w := dial(t, s.addr)
		w.send(t, text)
		if got, err := io.ReadAll(w.r); string(got) != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}
