package difftest_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
)

// A client1 is a client of HTTP/1.1 on a raw socket.
type client1 struct {
	wire1
	r    *run
	conn net.Conn
	kept string // a head kept back for what follows it
	at   int
	done chan struct{} // closed when the reading has ended

	methods []string // of the requests sent; the run's lock guards it
	asked   int      // how many requests were sent
	raw     string   // all that was sent raw
	refused bool     // the connection has to end behind one answer
	left    bool     // the client has closed the connection itself
}

// newClient1 is a client on a connection of its own.
func newClient1(r *run, conn net.Conn) *client1 {
	c := &client1{r: r, conn: conn, done: make(chan struct{})}
	go c.read()
	return c
}

func (c *client1) begin(start string) error {
	verb, rest, _ := strings.Cut(start, " ")
	target, version, ok := cutLast(rest, " HTTP/")
	if !ok {
		version = "1.1"
	}
	c.buf.WriteString(verb + " " + c.r.at.path(c.r.form, target) + " HTTP/" + version + "\r\n")
	c.buf.WriteString("Host: " + c.r.at.host(c.r.form) + "\r\n" + c.r.fields())
	c.sent(verb)
	return nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// sent notes a request, for its answer to be read right.
func (c *client1) sent(verb string) {
	c.asked++
	c.r.update(func() { c.methods = append(c.methods, verb) })
}

func (c *client1) field(line string) error {
	return c.wire1.field(c.r.filled(line))
}

func (c *client1) write(text string) error {
	if text == "" {
		return nil
	}
	// That the other side has gone is seen by the reader, and is no mistake of
	// the script.
	_, _ = c.conn.Write([]byte(text))
	return nil
}

// emit writes what was kept back and text, in one write.
func (c *client1) emit(text string) error {
	text, c.kept = c.kept+text, ""
	return c.write(text)
}

func (c *client1) head(length int) error {
	text := c.end(length)
	if length >= 0 {
		c.kept = text // the body goes with it, if it comes next
		return nil
	}
	return c.write(text)
}

func (c *client1) data(p []byte, last bool) error {
	text := c.piece(p)
	if last {
		text += c.last(nil)
	}
	return c.emit(text)
}

func (c *client1) push() error { return c.emit("") }

func (c *client1) finish(trailers []field) error { return c.emit(c.last(trailers)) }

// requestLine finds the requests in raw text.
var requestLine = regexp.MustCompile(`(?m)^([!-~]+) [^ \r\n]+ HTTP/1\.[01]\r?$`)

func (c *client1) other(s step) error {
	switch s.op {
	case "raw":
		text := c.r.filled(s.arg)
		c.noteRequests(text)
		return c.emit(text)
	case "shut":
		if err := c.emit(""); err != nil {
			return err
		}
		_ = closeWrite(c.conn) // see write
		return nil
	case "close":
		_ = c.emit("") // see write
		c.left = true
		_ = c.conn.Close() // see write
		return nil
	case "reset":
		_ = c.emit("") // see write
		c.left = true
		resetConn(c.conn)
		return nil
	}
	return fmt.Errorf("a client of HTTP/1.1 cannot do that")
}

// noteRequests finds the requests in raw text, which may come piece by piece.
func (c *client1) noteRequests(text string) {
	if len(c.raw)+len(text) > 64<<10 {
		return // a tunnel's bytes
	}
	before := len(requestLine.FindAllString(c.raw, -1))
	c.raw += text
	for _, match := range requestLine.FindAllStringSubmatch(c.raw, -1)[before:] {
		c.sent(match[1])
	}
}

func (c *client1) current() *message {
	if c.at < len(c.r.answers) {
		return c.r.answers[c.at]
	}
	return nil
}

func (c *client1) advance() { c.at++ }

func (c *client1) gone() bool { return c.r.closed }

// settle waits for the answers that are still to come, and closes.
func (c *client1) settle() {
	_ = c.emit("") // see write
	if !c.left {
		err := c.r.await("its answers", func() bool {
			if c.r.closed || c.refused {
				return c.r.closed
			}
			n := 0
			for _, m := range c.r.answers {
				if m.end != "" {
					n++
				}
			}
			return n >= c.asked
		})
		if err != nil {
			c.r.problem("client: %v", err)
		}
	}
	_ = c.conn.Close() // everything has been said
	<-c.done
}

// read reads answers until the connection ends.
func (c *client1) read() {
	defer close(c.done)
	defer c.r.update(func() { c.r.closed = true })
	br := bufio.NewReaderSize(c.conn, 64<<10)
	for n := 0; c.answer(br, n); n++ {
	}
}

func (c *client1) answer(br *bufio.Reader, n int) bool {
	m := &message{}
	for {
		start, fields, err := readHead(br)
		if errors.Is(err, errNoHead) && len(m.interim) == 0 {
			return false
		}
		var verb string
		c.r.update(func() {
			if len(m.interim) == 0 {
				c.r.answers = append(c.r.answers, m)
			}
			if n < len(c.methods) {
				verb = c.methods[n]
			}
			if err != nil {
				m.start, m.end = start, cutOff
			}
		})
		if err != nil {
			return false
		}
		version, rest, _ := strings.Cut(start, " ")
		status, phrase, _ := strings.Cut(rest, " ")
		if len(status) == 3 && status[0] == '1' && status != "101" {
			c.r.update(func() { m.interim = append(m.interim, &message{start: status, phrase: phrase, fields: fields}) })
			continue
		}
		bodiless := verb == "HEAD" || status == "101" || status == "204" || status == "304"
		c.r.update(func() {
			m.start, m.phrase, m.version, m.fields, m.hasHead = status, phrase, version, fields, true
			m.framing = frame(m, false, bodiless)
			if status == "101" {
				m.end = upgraded
			}
		})
		b := bodyReader{c.r, m, br}
		if status == "101" {
			b.tunnel()
			return false
		}
		return b.read()
	}
}
