package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// budget is how many allocations the door may make for a call with a small
// body, there in one piece. Lower it when you lower them.
const budget = 5

var jsonAnswer = []byte(`{"ok":true,"id":12345678}`)

// quick answers at once, and costs nothing but the answer.
func quick(_ context.Context, c *invoke.Call) (*invoke.Answer, error) {
	if _, ok := invoke.Whole(c.Body); !ok {
		_, _ = io.Copy(io.Discard, c.Body)
	}
	_ = c.Body.Close()
	return &invoke.Answer{Status: 200, Fields: quickFields, Length: int64(len(jsonAnswer)), Body: invoke.BytesBody(jsonAnswer)}, nil
}

// quickAllocs are what quick allocates itself: the answer and its body.
const quickAllocs = 2

var quickFields = invoke.Fields{{Name: "Content-Type", Value: "application/json"}, {Name: "Date", Value: "Mon, 02 Jan 2006 15:04:05 GMT"}}

func post(size int) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:3500\r\nUser-Agent: wrk\r\nAccept: */*\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", callX, size, strings.Repeat("x", size))
}

// asker sends a request and reads the answer without allocating.
type asker struct {
	c             net.Conn
	request, read []byte
}

func (a *asker) ask(tb testing.TB) {
	if _, err := a.c.Write(a.request); err != nil {
		tb.Fatal(err)
	}
	for n := 0; !bytes.HasSuffix(a.read[:n], jsonAnswer); {
		m, err := a.c.Read(a.read[n:])
		if err != nil {
			tb.Fatalf("%v behind %q", err, a.read[:n])
		}
		n += m
	}
}

func newAsker(tb testing.TB, standardEngine bool, size int) *asker {
	tb.Helper()
	addr := openDoor(tb, httpapi.Config{Standard: standardEngine, Invoke: invoke.HandlerFunc(quick)})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return &asker{c: c, request: post(size), read: make([]byte, 4096)}
}

func TestASmallCallIsCheapAtTheDoor(t *testing.T) { //nolint:paralleltest // counts allocations
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	a := newAsker(t, false, 54)
	a.ask(t)
	if got := testing.AllocsPerRun(500, func() { a.ask(t) }) - quickAllocs; got > budget {
		t.Errorf("a call costs %v allocations at the door, want at most %d", got, budget)
	}
}

func BenchmarkDoor(b *testing.B) {
	for name, standardEngine := range map[string]bool{"fast": false, "standard": true} {
		for _, size := range []int{54, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				a := newAsker(b, standardEngine, size)
				b.ReportAllocs()
				for b.Loop() {
					a.ask(b)
				}
			})
		}
	}
}
