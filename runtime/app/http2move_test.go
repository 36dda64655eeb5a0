package app_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/app"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A call whose body is there goes to another connection with all of it, though
// the first one was given it too.
func TestHTTP2GoAwayMovesABody(t *testing.T) {
	t.Parallel()
	const body = "all of it"
	got := make(chan string, 1)
	var conns atomic.Int32
	port := raw(t, func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		first := conns.Add(1) == 1
		fr := http2.NewFramer(c, c)
		_ = fr.WriteSettings()
		var came strings.Builder
		for {
			frame, err := fr.ReadFrame()
			if err != nil {
				return
			}
			data, ok := frame.(*http2.DataFrame)
			if !ok {
				continue
			}
			came.Write(data.Data())
			switch {
			case !data.StreamEnded():
			case first:
				_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
			default:
				got <- came.String()
				answerOK(fr, data.StreamID)
			}
		}
	})
	a, _ := runApp(t, app.Config{Port: port, Protocol: "h2c"})
	if ans, _ := do(t, a, post("/", body)); ans.Status != 200 {
		t.Errorf("status = %d", ans.Status)
	}
	if came := within.Receive(t, got); came != body {
		t.Errorf("the app got %q", came)
	}
}

// A body that had to be read to be sent is not there any more: the call fails
// with the proof, for whoever can repeat it.
func TestHTTP2GoAwayDoesNotMoveAStream(t *testing.T) {
	t.Parallel()
	var streams atomic.Int32
	port := raw(t, func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		fr := http2.NewFramer(c, c)
		_ = fr.WriteSettings()
		for {
			frame, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if _, ok := frame.(*http2.DataFrame); ok {
				streams.Add(1)
				_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
			}
		}
	})
	a, _ := runApp(t, app.Config{Port: port, Protocol: "h2c"})
	r, w := io.Pipe()
	go func() { _, _ = io.WriteString(w, "piece") }()
	c := post("/", "")
	c.Body, c.Length = invoke.NewBody(r, nil), -1
	if e := failed(t, a, c); e.Reason != apperr.Refused || e.Reached != apperr.ReachedNo || streams.Load() != 1 {
		t.Errorf("error = %s, reached %s, after %d streams", e.Reason, e.Reached, streams.Load())
	}
	within.Until(t, "the body to be closed", func() bool {
		_, err := w.Write([]byte("x"))
		return err != nil
	})
}

// An app that speaks something else is told so.
func TestHTTP2ToAnAppThatSpeaksHTTP1(t *testing.T) {
	t.Parallel()
	port := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	a, _ := runApp(t, app.Config{Port: port, Protocol: "h2c"})
	if e := failed(t, a, post("/", "x")); e.Reason != apperr.ProtocolError || !strings.Contains(e.Hint, "h2c") {
		t.Errorf("error = %s: %s", e.Reason, e.Message())
	}
}

// The app's fields are the call's in their order, with the time that is left in
// its place, and without what is not for the app.
func TestGRPCFieldsOnTheWire(t *testing.T) {
	t.Parallel()
	heads := make(chan []hpack.HeaderField, 1)
	port := raw(t, func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		fr := http2.NewFramer(c, c)
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		_ = fr.WriteSettings()
		for {
			frame, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if head, ok := frame.(*http2.MetaHeadersFrame); ok {
				heads <- append([]hpack.HeaderField(nil), head.Fields...)
				answerOK(fr, head.StreamID)
			}
		}
	})
	a, _ := runApp(t, app.Config{Port: port, Protocol: "grpc", Token: "secret"})
	c := post("/svc/Method", "")
	c.Body, c.Length = nil, 0
	c.Fields = fields(
		"zulu", "1", "Content-Type", "application/grpc", "grpc-timeout", "99H", "Alpha", "2", "zulu", "3",
		"dapr-api-token", "forged", "pillion-x", "no", "expect", "no",
	)
	shared := c.Fields.Clone()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ans, err := a.Serve(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	_ = ans.Body.Close()
	var lines []string
	for _, f := range within.Receive(t, heads) {
		if f.Name == "grpc-timeout" {
			if left, err := time.ParseDuration(strings.TrimSuffix(f.Value, "u") + "us"); err != nil || left > time.Minute || left < time.Second {
				t.Errorf("the app has %s", f.Value)
			}
			f.Value = ""
		}
		lines = append(lines, f.Name+" "+f.Value)
	}
	want := []string{
		":method POST", ":scheme http", ":authority 127.0.0.1:" + itoa(port), ":path /svc/Method",
		"zulu 1", "content-type application/grpc", "grpc-timeout ", "alpha 2", "zulu 3", "dapr-api-token secret", "te trailers",
	}
	if got := strings.Join(lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("the app got\n%s", got)
	}
	if !equalFields(c.Fields, shared) {
		t.Errorf("the call's own fields became %v", c.Fields)
	}
}
