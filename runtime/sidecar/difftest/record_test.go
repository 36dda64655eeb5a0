package difftest_test

import (
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// patience bounds every wait. It is long because a machine may be busy;
// nothing waits for it to pass.
const patience = time.Minute

// A form is how the client names the app.
type form string

const (
	direct     form = "direct" // there is nothing between client and app
	pathForm   form = "path"   // /v1.0/invoke/<id>/method/…
	headerForm form = "header" // dapr-app-id: <id>
)

// caseField names the field that tells an app whose request it got.
const caseField = "x-case"

// A field is a header or trailer line, as it stood on the wire.
type field struct{ name, value string }

// How a message ended.
const (
	ended    = "complete"
	cutOff   = "cut off"
	upgraded = "upgraded" // a tunnel follows
)

// A message is a request or an answer as it was received. Its run's lock
// guards it.
type message struct {
	start   string // "GET /x" or "200"
	version string
	phrase  string
	interim []*message // 1xx before it
	fields  []field
	framing string // "", "length 5", "chunked", "until close", "stream"
	hasHead bool
	body    []byte
	// trailers are the lines behind the body.
	trailers []field
	end      string // "" while it goes on
	// tunnel is what came after an upgrade, and whether that direction ended.
	tunnel    []byte
	tunnelEnd bool
	// gone is true once the other end has gone or has reset the stream.
	gone bool

	conn   net.Conn // HTTP/1.1: what an app answers on
	stream *stream  // HTTP/2
	// switched is the app's word on an upgrade that was asked for: the status
	// it answered with.
	switched int
}

func (m *message) get(name string) string {
	for _, f := range m.fields {
		if strings.EqualFold(f.name, name) {
			return strings.Trim(f.value, " \t")
		}
	}
	return ""
}

func (m *message) has(name string) bool {
	return slices.ContainsFunc(m.fields, func(f field) bool { return strings.EqualFold(f.name, name) })
}

// A run is a case carried out once, in one of the forms.
type run struct {
	c    *testCase
	form form
	id   string
	at   *target

	mu       sync.Mutex // guards what follows
	changed  chan struct{}
	requests []*message // as the app got them
	answers  []*message // as the client got them
	closed   bool       // the client's connection has ended
	marks    map[string]bool
	over     bool // the client's script has ended
	problems []string

	took time.Duration // once it is over
}

func newRun(c *testCase, f form, id string, at *target) *run {
	return &run{c: c, form: f, id: id, at: at, changed: make(chan struct{}), marks: map[string]bool{}}
}

// update changes what the lock guards, and wakes who waits for that.
func (r *run) update(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

// await waits until done, which is called with the lock held.
func (r *run) await(what string, done func() bool) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		r.mu.Lock()
		ok, changed := done(), r.changed
		r.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return fmt.Errorf("waits for %s in vain", what)
		}
	}
}

func (r *run) problem(format string, args ...any) {
	r.update(func() { r.problems = append(r.problems, fmt.Sprintf(format, args...)) })
}

// shown is a body as a report shows it.
func shown(b []byte) string {
	if len(b) <= 300 {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%d bytes, %x, %q…", len(b), sha256.Sum256(b), b[:60])
}
