package difftest_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// A speaker writes messages in one version of HTTP. A head is kept back until
// it is known what follows it, so that a small message is one write.
type speaker interface {
	// begin starts a message: a request or an answer.
	begin(start string) error
	// field adds a line to the head.
	field(line string) error
	// head sends the head, announcing a body of that length; streamed for one
	// of no known length, noBody for none.
	head(length int) error
	// data sends a piece of the body. With last it is the end as well.
	data(p []byte, last bool) error
	// finish ends the body, with trailers.
	finish(trailers []field) error
	// push sends what is still kept back for what may follow it.
	push() error
	// other does a step that not every version of HTTP has.
	other(s step) error
	// current is the message from the other side that is spoken about; nil if
	// it has not come. The run's lock is held.
	current() *message
	// advance speaks about the next one from now on.
	advance()
	// gone reports whether the other side has left.
	gone() bool
}

const (
	streamed   = -1
	noBody     = -2
	untilClose = -3
)

// A script is one side of a run, under way.
type script struct {
	r        *run
	steps    []step
	who      string
	s        speaker
	open     bool // a head is being written
	trailers []field
}

func (x *script) run() {
	for _, s := range x.steps {
		if err := x.do(s); err != nil {
			x.r.problem("%s: %s: %v", x.who, s, err)
			return
		}
	}
	if err := errors.Join(x.flush(noBody), x.s.push()); err != nil {
		x.r.problem("%s: %v", x.who, err)
	}
}

// flush sends a head that is still kept back.
func (x *script) flush(length int) error {
	if !x.open {
		return nil
	}
	x.open = false
	return x.s.head(length)
}

func (x *script) do(s step) error {
	switch s.op {
	case ">", "<":
		if err := x.flush(noBody); err != nil {
			return err
		}
		x.open, x.trailers = true, nil
		return x.s.begin(s.arg)
	case "|":
		return x.s.field(s.arg)
	case "body":
		if err := x.flush(len(s.arg)); err != nil {
			return err
		}
		return x.s.data([]byte(s.arg), true)
	case "length":
		n := 0
		if _, err := fmt.Sscan(s.arg, &n); err != nil {
			return err
		}
		return x.flush(n)
	case "stream":
		return x.flush(streamed)
	case "untilclose":
		return x.flush(untilClose)
	}
	return x.later(s)
}

// later are the steps that need no head, or come behind one.
func (x *script) later(s step) error {
	if err := x.flush(noBody); err != nil {
		return err
	}
	switch s.op {
	case "chunk":
		return x.s.data([]byte(s.arg), false)
	case "trailer":
		name, value, _ := strings.Cut(s.arg, ":")
		x.trailers = append(x.trailers, field{name, strings.TrimLeft(value, " ")})
		return nil
	case "end":
		return x.s.finish(x.trailers)
	}
	if err := x.s.push(); err != nil {
		return err
	}
	switch s.op {
	case "mark":
		x.r.update(func() { x.r.marks[s.arg] = true })
		return nil
	case "wait":
		return x.r.await("the mark "+s.arg, func() bool { return x.r.marks[s.arg] })
	case "get":
		return x.get(s.arg)
	case "gone":
		return x.r.await("the other side to go", x.s.gone)
	default:
		return x.s.other(s)
	}
}

// get waits for a message, or a part of one. An app's `get` and `get head` speak
// of the next request; a client speaks of the next answer once it got one whole.
func (x *script) get(what string) error {
	part, text, _ := strings.Cut(what, " ")
	text = unquoted(text)
	condition := conditions[part]
	if condition == nil {
		return fmt.Errorf("nobody can get that")
	}
	if x.who == app && (part == "" || part == "head") {
		x.s.advance()
	}
	err := x.r.await("a message's "+what, func() bool {
		m := x.s.current()
		if m == nil {
			return x.s.gone()
		}
		return condition(m, []byte(text)) || m.end == cutOff || strings.HasPrefix(m.end, "reset")
	})
	if x.who == client && (part == "" || part == "end") {
		x.s.advance()
	}
	return err
}

// conditions are what a script may wait for in a message.
var conditions = map[string]func(m *message, text []byte) bool{
	"":        func(m *message, _ []byte) bool { return m.end != "" },
	"end":     func(m *message, _ []byte) bool { return m.end != "" },
	"head":    func(m *message, _ []byte) bool { return m.hasHead },
	"interim": func(m *message, _ []byte) bool { return len(m.interim) > 0 || m.hasHead },
	"body":    func(m *message, text []byte) bool { return bytes.Contains(m.body, text) },
	"tunnel":  func(m *message, text []byte) bool { return bytes.Contains(m.tunnel, text) },
	"half":    func(m *message, _ []byte) bool { return m.tunnelEnd },
}

func unquoted(s string) string {
	if plain, err := unquote(s); err == nil {
		return plain
	}
	return s
}

// Who speaks.
const (
	client = "client"
	app    = "app"
)

// together runs both sides of a run to their ends.
func together(sides ...func()) {
	var all sync.WaitGroup
	for _, side := range sides {
		all.Go(side)
	}
	all.Wait()
}
