package difftest_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// A client2 is a client of HTTP/2 made of raw frames, on a connection of its
// own.
type client2 struct {
	wire2
	r    *run
	x    *conn2
	at   int // the answer spoken about; the stream written to is target
	left bool
	done chan struct{}

	streams []*stream // in the order they were opened; the run's lock guards it
}

func newClient2(r *run, conn net.Conn) *client2 {
	c := &client2{r: r, done: make(chan struct{})}
	c.x = newConn2(conn, true, c.heard)
	_ = c.x.greet() // a connection that is closed already is seen by the reader
	go func() {
		defer close(c.done)
		c.x.run()
	}()
	return c
}

// heard gives an event to the stream it is about.
func (c *client2) heard(e event) {
	c.r.update(func() {
		if e.gone {
			c.r.closed = true
		}
		for _, s := range c.streams {
			if s.id == e.stream || e.gone {
				s.take(e, false)
			}
		}
	})
}

func (c *client2) begin(start string) error {
	verb, path, _ := strings.Cut(start, " ")
	s := &stream{conn: c.x, id: uint32(2*len(c.streams) + 1), m: &message{}, r: c.r}
	c.target = s
	c.x.open(s.id)
	c.r.update(func() {
		c.streams = append(c.streams, s)
		c.r.answers = append(c.r.answers, s.m)
	})
	scheme := "http"
	if c.r.at.secure() && c.r.form == direct {
		scheme = "https"
	}
	c.fields = []field{
		{":method", verb},
		{":scheme", scheme},
		{":path", c.r.at.path(c.r.form, path)},
		{":authority", c.r.at.host(c.r.form)},
		{caseField, c.r.id},
	}
	if c.r.form == headerForm {
		c.fields = append(c.fields, field{"dapr-app-id", callee})
	}
	return nil
}

func (c *client2) field(line string) error { return c.wire2.field(c.r.filled(line)) }

func (c *client2) head(length int) error { return c.flush(length) }

func (c *client2) push() error { return nil }

func (c *client2) other(s step) error {
	switch s.op {
	case "on":
		n, err := strconv.Atoi(s.arg)
		if err != nil || n < 1 || n > len(c.streams) {
			return fmt.Errorf("there is no request %s", s.arg)
		}
		c.at, c.target = n-1, c.streams[n-1]
		return nil
	case "close":
		c.left = true
	case "reset":
		// What is sent is no longer answered: the answer ends here as well.
		c.r.update(func() {
			if c.target.m.end == "" {
				c.target.m.end = "given up"
			}
		})
	}
	return c.wire2.other(s)
}

func (c *client2) current() *message {
	if c.at < len(c.r.answers) {
		return c.r.answers[c.at]
	}
	return nil
}

func (c *client2) advance() { c.at++ }

func (c *client2) gone() bool {
	m := c.current()
	return c.r.closed || m != nil && m.gone
}

// settle waits for the answers that are still to come, and closes.
func (c *client2) settle() {
	err := c.r.await("its answers", func() bool {
		for _, m := range c.r.answers {
			if m.end == "" && !c.r.closed {
				return false
			}
		}
		return true
	})
	if err != nil {
		c.r.problem("client: %v", err)
	}
	c.x.stop()
	<-c.done
}
