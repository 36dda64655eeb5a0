package h2_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/h2"
)

// adapted serves h by our engine.
func adapted(t *testing.T, h http.HandlerFunc) *site {
	t.Helper()
	return serve(t, func(ctx *callctx.Context, s *h2.Stream) { h2.ServeHTTP(ctx, s, h, nil) })
}

func TestAnHTTPHandlerHasTheRequestAsNetHTTPGivesIt(t *testing.T) {
	t.Parallel()
	st := adapted(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.RequestURI != "/a%2Fb?q" || r.URL.Path != "/a/b" || r.Host != "a" || r.ProtoMajor != 2 || r.Method != "POST" ||
			r.Header.Get("X-A") != "1" || r.Header.Get("Cookie") != "a=1; b=2" || r.ContentLength != 4 || string(body) != "body" ||
			r.Trailer.Get("T") != "end" || r.RemoteAddr == "" {
			t.Errorf("%+v %q", r, body)
		}
		w.WriteHeader(http.StatusTeapot)
	})
	r := rawClient(t, st.addr)
	r.headers(1, false, ":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/a%2Fb?q",
		"x-a", "1", "cookie", "a=1", "cookie", "b=2", "content-length", "4", "trailer", "T")
	r.data(1, false, "body")
	r.headers(1, true, "t", "end")
	if head := r.lines(r.stream(1)); !strings.HasPrefix(head, ":status: 418\ndate: ") || !strings.Contains(head, "content-length: 0\n") {
		t.Errorf("%s", head)
	}
}

func TestAnHTTPHandlersAnswer(t *testing.T) {
	t.Parallel()
	flushed := make(chan struct{})
	st := adapted(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		switch r.URL.Path {
		case "/short":
			_, _ = io.WriteString(w, "<html>")
		case "/long":
			_, _ = io.WriteString(w, long(10<<10))
		case "/flush":
			w.Header().Set("Content-Type", "x/y")
			w.Header().Set("Trailer", "B")
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "a")
			_ = http.NewResponseController(w).Flush()
			<-flushed
			w.Header().Set("B", "1")
			w.Header().Set(http.TrailerPrefix+"A", "2")
		case "/head":
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "12345")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
	})
	r := rawClient(t, st.addr)
	r.get(1, "/short")
	if head := r.lines(r.stream(1)); head != ":status: 200\ncontent-type: text/html; charset=utf-8\ncontent-length: 6\n" {
		t.Errorf("short: %s", head)
	}
	if data, ended := r.wantData(1, 6); data != "<html>" || !ended {
		t.Errorf("%q, %v", data, ended)
	}
	r.get(3, "/long")
	if head := r.lines(r.stream(3)); head != ":status: 200\ncontent-type: text/plain; charset=utf-8\n" {
		t.Errorf("long: %s", head)
	}
	if data, _ := r.wantData(3, 10<<10); data != long(10<<10) {
		t.Errorf("%d bytes", len(data))
	}
	r.wantData(3, 0)
	r.get(5, "/flush")
	if head := r.lines(r.stream(5)); head != ":status: 103\ncontent-type: x/y\ntrailer: B\n" {
		t.Errorf("early: %s", head)
	}
	if head := r.lines(r.stream(5)); head != ":status: 200\ncontent-type: x/y\ntrailer: B\n" {
		t.Errorf("flush: %s", head)
	}
	r.wantData(5, 1)
	close(flushed)
	if trailers := r.lines(r.stream(5)); trailers != "b: 1\na: 2\n" {
		t.Errorf("trailers: %s", trailers)
	}
	r.headers(7, true, ":method", "HEAD", ":scheme", "http", ":authority", "a", ":path", "/head")
	f := r.stream(7)
	if head := r.lines(f); head != ":status: 200\ncontent-length: 5\n" || !f.(*http2.HeadersFrame).StreamEnded() {
		t.Errorf("head: %s", head)
	}
	r.get(9, "/abort")
	r.wantReset(9, http2.ErrCodeInternal)
}

func TestAnHTTPHandlerMayStopReading(t *testing.T) {
	t.Parallel()
	st := adapted(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		read := make(chan error)
		go func() { _, err := r.Body.Read(make([]byte, 1)); read <- err }()
		if err := rc.SetReadDeadline(time.Now().Add(-time.Hour)); err != nil {
			t.Error(err)
		}
		if err := <-read; err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read: %v", err)
		}
		if rc.EnableFullDuplex() != nil {
			t.Error("no full duplex")
		}
	})
	r := rawClient(t, st.addr)
	r.post(1)
	r.lines(r.stream(1))
}
