package soaktest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/websocket"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// dial is a connection to the HTTP door, closed by the caller.
func (w *worker) dial(c call) *net.TCPConn {
	conn, err := new(net.Dialer).DialContext(w.t.Context(), "tcp", w.http)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	if err != nil {
		w.wrong("%s %s: %v", c.kind, c.id, err)
		return nil
	}
	return conn.(*net.TCPConn)
}

// hangUp closes a connection, with a reset as when the client is killed.
func (w *worker) hangUp(conn *net.TCPConn, reset bool) {
	if reset {
		_ = conn.SetLinger(0) // it may be closed already
	}
	_ = conn.Close()
}

func (w *worker) head(c call, method, path, more string) string {
	return fmt.Sprintf("%s /v1.0/invoke/%s/method%s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n%s\r\n",
		method, c.target.page, path, w.http, idField, c.id, more)
}

// uploadCut sends a part of a body and goes.
func (w *worker) uploadCut(c call) string {
	conn := w.dial(c)
	if conn == nil {
		return broken
	}
	defer w.hangUp(conn, w.chance.IntN(2) == 0)
	body := content(c.id, 64<<10)
	_, _ = io.WriteString(conn, w.head(c, "POST", "/take?n=65536", "Transfer-Encoding: chunked\r\n"))
	for range w.chance.IntN(5) {
		_, _ = fmt.Fprintf(conn, "%x\r\n%s\r\n", 8<<10, body[:8<<10])
		body = body[8<<10:]
	}
	if w.chance.IntN(2) == 0 {
		_, _ = fmt.Fprintf(conn, "%x\r\n%s", 8<<10, body[:100]) // in the middle of a chunk
	}
	return well
}

// vanishAtOnce sends a request, or half of one, and is gone.
func (w *worker) vanishAtOnce(c call) string {
	conn := w.dial(c)
	if conn == nil {
		return broken
	}
	head := w.head(c, "GET", "/slow", "")
	if w.chance.IntN(4) == 0 {
		head = head[:w.chance.IntN(len(head))]
	}
	_, _ = io.WriteString(conn, head)
	w.hangUp(conn, true)
	return well
}

// vanishInAnswer is gone while its answer comes.
func (w *worker) vanishInAnswer(c call) string {
	conn := w.dial(c)
	if conn == nil {
		return broken
	}
	defer w.hangUp(conn, true)
	path := "/content?n=1048576"
	if w.chance.IntN(2) == 0 {
		path = "/events"
	}
	_, _ = io.WriteString(conn, w.head(c, "GET", path, ""))
	// Its body stays open: to close it would be to read it to its end.
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.wrong("%s %s: %v", c.kind, c.id, err)
		return broken
	}
	if reason := w.ours(c, answer); reason != "" {
		return reason
	}
	if got := answer.Header.Get(idField); got != c.id {
		w.wrong("%s %s: an answer for %q", c.kind, c.id, got)
	}
	_, _ = io.CopyN(io.Discard, answer.Body, int64(w.chance.IntN(100)))
	return well
}

func (w *worker) socket(c call) string { return w.talk(c, (*net.TCPConn).Close) }

func (w *worker) socketDropped(c call) string {
	return w.talk(c, func(conn *net.TCPConn) error { w.hangUp(conn, true); return nil })
}

// talk says something by a WebSocket, hears it again, and ends.
func (w *worker) talk(c call, end func(*net.TCPConn) error) string {
	conn := w.dial(c)
	if conn == nil {
		return broken
	}
	defer func() { _ = end(conn) }() // what was to be heard was heard
	config, err := websocket.NewConfig("ws://"+w.http+"/v1.0/invoke/"+c.target.page+"/method/socket", "http://"+w.http)
	if err != nil {
		panic(err) // the address is ours
	}
	config.Header = http.Header{idField: {c.id}}
	// The client tells no more of a refusal than its status: keep a copy.
	said := &recorder{TCPConn: conn}
	ws, err := websocket.NewClient(config, said)
	if err != nil {
		if answer, err := http.ReadResponse(bufio.NewReader(&said.text), nil); err == nil && answer.Header.Get(invoke.FieldError) != "" {
			return answer.Header.Get(invoke.FieldError)
		}
		w.wrong("%s %s: %v", c.kind, c.id, err)
		return broken
	}
	for i := range 1 + w.chance.IntN(5) {
		text, got := fmt.Sprintf("%s %d", c.id, i), ""
		if websocket.Message.Send(ws, text) != nil || websocket.Message.Receive(ws, &got) != nil {
			return broken
		}
		if got != text {
			w.wrong("%s %s: %q, want %q", c.kind, c.id, got, text)
			return mixedUp
		}
	}
	return well
}

// A recorder keeps what is read from a connection.
type recorder struct {
	*net.TCPConn
	text bytes.Buffer
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.TCPConn.Read(b)
	r.text.Write(b[:n])
	return n, err
}
