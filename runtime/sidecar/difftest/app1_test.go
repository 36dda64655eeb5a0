package difftest_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
)

// An app1 is an app of HTTP/1.1 on raw sockets: what a run's script says is
// what it replies.
type app1 struct {
	wire1
	r  *run
	at int
	// conn is where the answer goes, once a request is spoken about.
	kept string
}

func (a *app1) begin(start string) error {
	m := a.message()
	if m == nil {
		return fmt.Errorf("there is no request to answer")
	}
	status, _, _ := strings.Cut(start, " ")
	a.buf.WriteString("HTTP/1.1 " + start + "\r\n")
	a.answered(m, status)
	return nil
}

// answered notes what the app says to an upgrade.
func (a *app1) answered(m *message, status string) {
	code := 0
	_, _ = fmt.Sscan(status, &code) // a wrong one is what the case is about
	if code != 101 && code < 200 {
		return
	}
	a.r.update(func() {
		m.switched = code
		if code == 101 && m.has("upgrade") && m.end == ended {
			m.end = upgraded
		}
	})
}

func (a *app1) message() *message {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	return a.current()
}

func (a *app1) write(text string) error {
	m := a.message()
	if m == nil {
		return fmt.Errorf("there is no request to answer")
	}
	_, _ = m.conn.Write([]byte(text)) // the other side may have gone
	return nil
}

func (a *app1) emit(text string) error {
	text, a.kept = a.kept+text, ""
	if text == "" {
		return nil
	}
	return a.write(text)
}

func (a *app1) head(length int) error {
	if length >= 0 {
		a.kept = a.end(length)
		return nil
	}
	return a.write(a.end(length))
}

func (a *app1) data(p []byte, last bool) error {
	text := a.piece(p)
	if last {
		text += a.last(nil)
	}
	return a.emit(text)
}

func (a *app1) push() error { return a.emit("") }

func (a *app1) finish(trailers []field) error { return a.emit(a.last(trailers)) }

func (a *app1) other(s step) error {
	if err := a.emit(""); err != nil {
		return err
	}
	m := a.message()
	if m == nil {
		return fmt.Errorf("there is no request")
	}
	switch s.op {
	case "raw":
		if line, status := "HTTP/1.1 ", ""; strings.HasPrefix(s.arg, line) {
			status, _, _ = strings.Cut(s.arg[len(line):], " ")
			a.answered(m, status)
		}
		return a.write(s.arg)
	case "shut":
		_ = closeWrite(m.conn) // the other side may have ended it
		return nil
	case "close":
		_ = m.conn.Close() // as above
		return a.readAll(m)
	case "reset":
		resetConn(m.conn)
		return a.readAll(m)
	}
	return fmt.Errorf("an app of HTTP/1.1 cannot do that")
}

// readAll waits until it is noted what the app got of m: its reading goes on
// beside the script.
func (a *app1) readAll(m *message) error {
	return a.r.await("the end of the request", func() bool { return m.end != "" })
}

func (a *app1) current() *message {
	if a.at >= 0 && a.at < len(a.r.requests) {
		return a.r.requests[a.at]
	}
	return nil
}

func (a *app1) advance() { a.at++ }

func (a *app1) gone() bool {
	m := a.current()
	if m == nil {
		return a.r.over && a.r.closed // nothing can come any more
	}
	return m.gone
}

// serve1 reads requests from a connection to the app and gives them to the runs
// they belong to.
func (t *target) serve1(conn net.Conn) {
	br := bufio.NewReaderSize(conn, 64<<10)
	var last *message
	var owner *run
	defer func() {
		if last != nil {
			owner.update(func() { last.gone = true })
			// Only the other direction may have ended. The run has a bound of
			// its own.
			_ = owner.await("the end", func() bool { return owner.over })
		}
		_ = conn.Close() // nobody uses it any more
	}()
	for {
		start, fields, err := readHead(br)
		if err != nil {
			if start != "" && owner != nil {
				owner.problem("the app got half a head: %q", start)
			}
			return
		}
		m := &message{conn: conn, hasHead: true, fields: fields}
		m.start, m.version, _ = cutLast(start, " ")
		m.framing = frame(m, true, false)
		r := t.runOf(m)
		if r == nil {
			continue
		}
		owner, last = r, m
		r.update(func() { r.requests = append(r.requests, m) })
		b := bodyReader{r, m, br}
		if !b.read() {
			return
		}
		if m.has("upgrade") && t.upgradeAnswered(r, m) == 101 {
			b.tunnel()
			return
		}
	}
}

// upgradeAnswered waits for the app's word on an upgrade.
func (t *target) upgradeAnswered(r *run, m *message) (status int) {
	// A script that never answers ends the run by itself.
	_ = r.await("an answer to an upgrade", func() bool { status = m.switched; return status != 0 || m.gone || r.over })
	return status
}
