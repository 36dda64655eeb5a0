package difftest_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// An app2 is an app of HTTP/2 made of raw frames: what a run's script says is
// what it replies.
type app2 struct {
	wire2
	r  *run
	at int
}

func (a *app2) begin(start string) error {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	m := a.current()
	if m == nil {
		return fmt.Errorf("there is no request to answer")
	}
	a.target = m.stream
	status, _, _ := strings.Cut(start, " ")
	a.fields = []field{{":status", status}}
	return nil
}

func (a *app2) head(length int) error {
	// An answer to HEAD has a length and no body.
	if length == noBody && a.target == nil {
		return fmt.Errorf("there is no request to answer")
	}
	return a.flush(length)
}

func (a *app2) push() error { return nil }

func (a *app2) other(s step) error {
	if s.op == "on" {
		n, err := strconv.Atoi(s.arg)
		if err != nil {
			return err
		}
		a.at = n - 1
		return a.r.await("request "+s.arg, func() bool {
			if m := a.current(); m != nil {
				a.target = m.stream
				return true
			}
			return false
		})
	}
	a.r.mu.Lock()
	if m := a.current(); m != nil {
		a.target = m.stream
	}
	a.r.mu.Unlock()
	if a.target == nil {
		return fmt.Errorf("there is no request")
	}
	return a.wire2.other(s)
}

func (a *app2) current() *message {
	if a.at >= 0 && a.at < len(a.r.requests) {
		return a.r.requests[a.at]
	}
	return nil
}

func (a *app2) advance() { a.at++ }

func (a *app2) gone() bool {
	m := a.current()
	if m == nil {
		return a.r.over && a.r.closed // nothing can come any more
	}
	return m.gone
}

// serve2 reads requests from a connection to the app and gives them to the runs
// they belong to.
func (t *target) serve2(conn net.Conn) {
	streams := map[uint32]*stream{}
	var x *conn2
	x = newConn2(conn, false, func(e event) {
		if e.gone {
			for _, s := range streams {
				s.r.update(func() { s.take(e, true) })
			}
			return
		}
		s := streams[e.stream]
		if s == nil && e.fields != nil {
			s = t.newStream(x, e)
			if s == nil {
				return
			}
			streams[e.stream] = s
			s.r.update(func() {
				s.take(e, true)
				s.r.requests = append(s.r.requests, s.m)
			})
			return
		}
		if s != nil {
			s.r.update(func() { s.take(e, true) })
		}
	})
	x.run()
}

func (t *target) newStream(x *conn2, e event) *stream {
	m := &message{fields: plain(e.fields)}
	r := t.runOf(m)
	if r == nil {
		return nil
	}
	s := &stream{conn: x, id: e.stream, m: &message{}, r: r}
	s.m.stream = s
	return s
}
