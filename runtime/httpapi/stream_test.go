package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// piped answers at once and leaves both bodies to the test.
func piped(t *testing.T, calls chan<- *invoke.Call, fields invoke.Fields) (invoke.Handler, *io.PipeWriter) {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	return invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if calls != nil {
			calls <- c
		}
		context.AfterFunc(ctx, func() { _ = r.CloseWithError(context.Cause(ctx)) })
		return &invoke.Answer{Status: 200, Fields: fields, Body: invoke.NewBody(r, nil), Length: -1}, nil
	}), w
}

// client speaks HTTP/1.1, or HTTP/2 by prior knowledge.
func client(t *testing.T, major int) *http.Client {
	t.Helper()
	var p http.Protocols
	p.SetHTTP1(major == 1)
	p.SetUnencryptedHTTP2(major == 2)
	tr := &http.Transport{Protocols: &p, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func TestBothBodiesStreamAtTheSameTime(t *testing.T) {
	t.Parallel()
	for _, major := range []int{1, 2} {
		calls := make(chan *invoke.Call, 1)
		h, answer := piped(t, calls, nil)
		addr := serve(t, httpapi.Config{Invoke: h})
		body, upload := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+callX, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client(t, major).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		c := within.Receive(t, calls)
		if c.Major != major || c.Length != -1 {
			t.Errorf("call: HTTP/%d length %d, want %d and -1", c.Major, c.Length, major)
		}
		for _, piece := range []string{"a", "bcd", strings.Repeat("e", 100)} {
			got := make([]byte, len(piece))
			go func() { _, _ = io.WriteString(upload, piece) }()
			if _, err := io.ReadFull(c.Body, got); err != nil || string(got) != piece {
				t.Fatalf("HTTP/%d: up %q, %v, want %q", major, got, err, piece)
			}
			go func() { _, _ = io.WriteString(answer, piece) }()
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != piece {
				t.Fatalf("HTTP/%d: down %q, %v, want %q", major, got, err, piece)
			}
		}
		_ = upload.Close()
		if _, err := c.Body.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("HTTP/%d: end of the request: %v", major, err)
		}
		_ = answer.Close()
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Errorf("HTTP/%d: end of the answer: %v", major, err)
		}
		_ = resp.Body.Close()
	}
}

func TestTheHeadComesBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	h, answer := piped(t, nil, invoke.Fields{{Name: "Content-Type", Value: "text/event-stream"}})
	addr := serve(t, httpapi.Config{Invoke: h})
	w := dial(t, addr)
	w.send(t, get("GET", callX))
	resp, err := http.ReadResponse(w.r, &http.Request{Method: "GET"})
	if err != nil || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("head: %v, %v", resp, err)
	}
	if resp.Header.Get("Date") != "" {
		t.Error("a Date was added that the app did not send")
	}
	go func() { _, _ = io.WriteString(answer, "data: 1\n\n") }()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || line != "data: 1\n" {
		t.Errorf("first event: %q, %v", line, err)
	}
	_ = resp.Body.Close
}

func TestTrailersPassBothWays(t *testing.T) {
	t.Parallel()
	h := invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		_, _ = io.ReadAll(c.Body)
		got := c.Body.Trailers().Get("X-Sum")
		_ = c.Body.Close()
		body := invoke.NewBody(io.NopCloser(strings.NewReader("ok")), func() invoke.Fields {
			return invoke.Fields{{Name: "X-Echo", Value: got}, {Name: "X-Other", Value: "2"}}
		})
		return &invoke.Answer{Status: 200, Body: body, Length: -1, Fields: invoke.Fields{{Name: "Trailer", Value: "X-Echo"}}}, nil
	})
	addr := serve(t, httpapi.Config{Invoke: h})
	for _, major := range []int{1, 2} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+callX, io.MultiReader(strings.NewReader("body")))
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X-Sum": {"42"}}
		resp, err := client(t, major).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(resp.Body); string(data) != "ok" || err != nil {
			t.Errorf("body %q, %v", data, err)
		}
		_ = resp.Body.Close()
		if resp.Trailer.Get("X-Echo") != "42" || resp.Trailer.Get("X-Other") != "2" {
			t.Errorf("HTTP/%d: trailers %v", major, resp.Trailer)
		}
	}
}

func TestInformationalAnswersArePassedOn(t *testing.T) {
	t.Parallel()
	h := invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if c.Informational != nil {
			_ = c.Informational(103, invoke.Fields{{Name: "Link", Value: "</a>"}})
			_ = c.Informational(102, nil)
		}
		return &invoke.Answer{Status: 200, Body: invoke.BytesBody(nil), Fields: invoke.Fields{{Name: "X-Final", Value: "1"}}}, nil
	})
	addr := serve(t, httpapi.Config{Invoke: h})
	for _, major := range []int{1, 2} {
		var got []int
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			got = append(got, code)
			if code == 103 && h.Get("Link") != "</a>" {
				t.Errorf("103 with %v", h)
			}
			return nil
		}}
		req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", "http://"+addr+callX, http.NoBody)
		resp, err := client(t, major).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if !slices.Equal(got, []int{103, 102}) || resp.StatusCode != 200 || resp.Header.Get("Link") != "" || resp.Header.Get("X-Final") != "1" {
			t.Errorf("HTTP/%d: 1xx %v, then %d %v", major, got, resp.StatusCode, resp.Header)
		}
	}
	// HTTP/1.0 does not know them.
	w := dial(t, addr)
	w.send(t, "GET "+callX+" HTTP/1.0\r\n\r\n")
	if resp, _ := w.response(t, "GET"); resp.StatusCode != 200 {
		t.Errorf("HTTP/1.0 got %d", resp.StatusCode)
	}
}

func TestContinueIsSentByTheFirstRead(t *testing.T) {
	t.Parallel()
	read := make(chan bool)
	addr := serve(t, httpapi.Config{Invoke: invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		if !c.Expect {
			return nil, errors.New("Expect is not told")
		}
		if !<-read {
			return &invoke.Answer{Status: 417, Body: invoke.BytesBody(nil)}, nil
		}
		_ = c.Informational(100, nil) // the app's own; the client must get one
		return reflectCall(ctx, c)
	})})
	const head = "POST " + callX + " HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
	w := dial(t, addr)
	w.send(t, head)
	_ = w.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if b, err := w.r.Peek(1); err == nil {
		t.Fatalf("the door said %q before the body was wanted", b)
	}
	_ = w.SetReadDeadline(time.Now().Add(patience))
	read <- true
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil || resp.StatusCode != 100 {
		t.Fatalf("%v, %v, want 100", resp, err)
	}
	w.send(t, "body")
	resp, body := w.response(t, "POST")
	if resp.StatusCode != 200 || reflected(t, body).Body != "body" || reflected(t, body).Fields.Has("Expect") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	w = dial(t, addr)
	w.send(t, head)
	read <- false
	if resp, _ := w.response(t, "POST"); resp.StatusCode != 417 {
		t.Errorf("refused: %d, want 417 and no 100", resp.StatusCode)
	}
}

func TestLengthsAndBodilessAnswersStayAsTheyAre(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method string
		answer invoke.Answer
		body   string
		want   string // the lines about the length
	}{
		"length known":        {"GET", invoke.Answer{Status: 200, Length: 3}, "abc", "Content-Length: 3"},
		"length unknown":      {"GET", invoke.Answer{Status: 200, Length: -1}, "abc", "Transfer-Encoding: chunked"},
		"empty":               {"GET", invoke.Answer{Status: 200, Length: 0}, "", "Content-Length: 0"},
		"HEAD with length":    {"HEAD", invoke.Answer{Status: 200, Length: 5000}, "", "Content-Length: 5000"},
		"HEAD without length": {"HEAD", invoke.Answer{Status: 200, Length: -1}, "", ""},
		"204":                 {"GET", invoke.Answer{Status: 204, Length: 0}, "", ""},
		"304":                 {"GET", invoke.Answer{Status: 304, Length: -1}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := serve(t, httpapi.Config{Invoke: answerWith(c.answer, c.body)})
			w := dial(t, addr)
			w.send(t, get(c.method, callX)+get("GET", "/v1.0/healthz", "Connection: close"))
			head := ""
			for !strings.HasSuffix(head, "\r\n\r\n") {
				line, err := w.r.ReadString('\n')
				if err != nil {
					t.Fatalf("%q, %v", head, err)
				}
				head += line
			}
			got := ""
			for line := range strings.SplitSeq(head, "\r\n") {
				if strings.HasPrefix(line, "Content-Length") || strings.HasPrefix(line, "Transfer-Encoding") {
					got += line
				}
			}
			if got != c.want {
				t.Errorf("%q, want %q", head, c.want)
			}
			rest, err := io.ReadAll(w.r)
			if err != nil {
				t.Fatal(err)
			}
			if c.body == "" && !strings.HasPrefix(string(rest), "HTTP/1.1 204") {
				t.Errorf("behind the head: %q", rest)
			}
			if c.body != "" && !strings.Contains(string(rest), c.body) {
				t.Errorf("no body in %q", rest)
			}
		})
	}
}

func TestFieldsPassAsTheyCame(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{Invoke: answerWith(invoke.Answer{Status: 201, Length: 0, Fields: invoke.Fields{
		{Name: "Set-Cookie", Value: "a=1"},
		{Name: "Set-Cookie", Value: "b=2"},
		{Name: "x-CaSe", Value: "kept"},
		{Name: "date", Value: "Mon, 02 Jan 2006 15:04:05 GMT"},
		{Name: "Server", Value: "app"},
	}}, "")})
	w := dial(t, addr)
	w.send(t, get("GET", callX, "Connection: close"))
	all, err := io.ReadAll(w.r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"HTTP/1.1 201", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", "x-case: kept", "date: mon, 02 jan 2006", "server: app"} {
		if strings.Count(strings.ToLower(string(all)), strings.ToLower(want)) != 1 {
			t.Errorf("%q is not once in %q", want, all)
		}
	}
	if !strings.Contains(string(all), "x-CaSe: kept") || strings.Count(strings.ToLower(string(all)), "date:") != 1 || strings.Contains(string(all), "Content-Type") {
		t.Errorf("something was added: %q", all)
	}
}

func TestAnAnswerThatBreaksOffIsNotTakenForComplete(t *testing.T) {
	t.Parallel()
	h := invoke.HandlerFunc(func(context.Context, *invoke.Call) (*invoke.Answer, error) {
		r, w := io.Pipe()
		go func() {
			_, _ = io.WriteString(w, "half")
			_ = w.CloseWithError(&apperr.Error{Reason: apperr.AppGone, What: "gone", Err: io.EOF})
		}()
		return &invoke.Answer{Status: 200, Body: invoke.NewBody(r, nil), Length: -1}, nil
	})
	addr := serve(t, httpapi.Config{Invoke: h})
	for _, major := range []int{1, 2} {
		resp, err := client(t, major).Get("http://" + addr + callX)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		if err == nil || string(data) != "half" {
			t.Errorf("HTTP/%d: %q, %v, want an error behind the half", major, data, err)
		}
		_ = resp.Body.Close()
	}
}

func TestAClientThatLeavesEndsTheCall(t *testing.T) {
	t.Parallel()
	for _, major := range []int{1, 2} {
		began, ended := make(chan struct{}), make(chan error, 1)
		addr := serve(t, httpapi.Config{Invoke: invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
			close(began)
			<-ctx.Done()
			ended <- ctx.Err()
			return nil, &apperr.Error{Reason: apperr.Cancelled, What: "gone"}
		})})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-began
			cancel()
		}()
		req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+addr+callX, http.NoBody)
		if _, err := client(t, major).Do(req); err == nil {
			t.Error("an answer came")
		}
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("HTTP/%d: the call ended with %v", major, err)
			}
		case <-time.After(patience):
			t.Errorf("HTTP/%d: the call goes on", major)
		}
	}
}

// An app may answer before it has the whole request, as with 413.
func TestAnEarlyAnswerEndsTheUpload(t *testing.T) {
	t.Parallel()
	for _, major := range []int{1, 2} {
		readers := make(chan error, 1)
		addr := serve(t, httpapi.Config{Invoke: invoke.HandlerFunc(func(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
			pumping := make(chan struct{})
			go func() {
				one := make([]byte, 1)
				_, err := c.Body.Read(one)
				close(pumping)
				for err == nil {
					_, err = c.Body.Read(one)
				}
				readers <- err
			}()
			<-pumping
			end := func() error { _ = c.Body.Close(); return nil }
			return &invoke.Answer{Status: 413, Length: 3, Body: invoke.NewBody(closer{strings.NewReader("big"), end}, nil)}, nil
		})})
		body, upload := io.Pipe()
		go func() { _, _ = io.WriteString(upload, "xyz") }() // and nothing more
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+callX, body)
		resp, err := client(t, major).Do(req)
		if err != nil {
			t.Fatalf("HTTP/%d: %v", major, err)
		}
		data, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 413 || string(data) != "big" || err != nil {
			t.Errorf("HTTP/%d: %d %q %v", major, resp.StatusCode, data, err)
		}
		_ = resp.Body.Close()
		select {
		case err := <-readers:
			if err == nil || errors.Is(err, io.EOF) {
				t.Errorf("HTTP/%d: the body ended with %v", major, err)
			}
		case <-time.After(patience):
			t.Errorf("HTTP/%d: the body is still read", major)
		}
		_ = upload.Close()
	}
}

type closer struct {
	io.Reader
	end func() error
}

func (c closer) Close() error { return c.end() }

func TestTheClientsTimeoutIsTheCallsDeadline(t *testing.T) {
	t.Parallel()
	left := make(chan time.Duration, 1)
	addr := serve(t, httpapi.Config{Invoke: invoke.HandlerFunc(func(ctx context.Context, c *invoke.Call) (*invoke.Answer, error) {
		deadline, ok := ctx.Deadline()
		if !ok {
			left <- 0
		} else {
			left <- time.Until(deadline)
		}
		return reflectCall(ctx, c)
	})})
	_, body := ask(t, addr, get("GET", callX, "pillion-timeout: 30m"))
	if d := within.Receive(t, left); d < 25*time.Minute || d > 30*time.Minute {
		t.Errorf("time left %v, want about 30m", d)
	}
	if reflected(t, body).Fields.Has("pillion-timeout") {
		t.Error("pillion-timeout is forwarded")
	}
	resp, body := ask(t, addr, get("GET", callX, "pillion-timeout: soon"))
	if resp.StatusCode != 400 || !strings.Contains(body, "soon") {
		t.Errorf("bad duration: %d %s", resp.StatusCode, body)
	}
	_, _ = ask(t, addr, get("POST", callX, "Content-Type: application/grpc", "grpc-timeout: 20M", "dapr-app-id: app"))
	if d := within.Receive(t, left); d < 15*time.Minute || d > 20*time.Minute {
		t.Errorf("gRPC time left %v, want about 20m", d)
	}
}

func TestJavasOfferOfH2CIsIgnored(t *testing.T) {
	t.Parallel()
	addr := serve(t, httpapi.Config{})
	resp, body := ask(t, addr, get("GET", callX, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"))
	if resp.StatusCode != 200 || reflected(t, body).Upgrade != "" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

var _ net.Conn = (*wire)(nil)
