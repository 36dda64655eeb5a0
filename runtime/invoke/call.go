// Package invoke is service invocation: the one model of an exchange, the
// stages every call passes, and the choice of the instance that gets it. It
// knows no protocol: codecs translate to and from Call and Answer, and the
// mesh and the app are small interfaces declared here.
package invoke

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/discovery"
	"github.com/pillion-dev/pillion/tls/identity"
)

// A Field is one header or trailer line. Names keep the case they came with
// and are compared without it.
type Field struct{ Name, Value string }

// Fields are header or trailer lines in their order.
type Fields []Field

// Get returns the first value of name, or "".
func (f Fields) Get(name string) string {
	for i := range f {
		if strings.EqualFold(f[i].Name, name) {
			return f[i].Value
		}
	}
	return ""
}

// Has reports whether there is a line called name.
func (f Fields) Has(name string) bool {
	for i := range f {
		if strings.EqualFold(f[i].Name, name) {
			return true
		}
	}
	return false
}

// Values returns all values of name, in order.
func (f Fields) Values(name string) []string {
	var out []string
	for i := range f {
		if strings.EqualFold(f[i].Name, name) {
			out = append(out, f[i].Value)
		}
	}
	return out
}

// Add appends a line.
func (f *Fields) Add(name, value string) { *f = append(*f, Field{name, value}) }

// Set replaces all lines called name by one at the end.
func (f *Fields) Set(name, value string) {
	f.Del(name)
	f.Add(name, value)
}

// Del removes all lines called name.
func (f *Fields) Del(name string) {
	kept := (*f)[:0]
	for _, field := range *f {
		if !strings.EqualFold(field.Name, name) {
			kept = append(kept, field)
		}
	}
	*f = kept
}

// Clone returns a copy that shares nothing.
func (f Fields) Clone() Fields { return append(Fields(nil), f...) }

// A Body is a stream the receiver pulls, and the trailers behind it. Read may
// return fewer bytes than asked for as soon as there are any: nothing waits
// for a buffer to fill. Close releases the stream at any point and tells the
// sender to stop; it may be called more than once.
type Body interface {
	io.ReadCloser
	// Trailers are the lines after the body: complete once Read has returned
	// io.EOF, nil before.
	Trailers() Fields
}

// A Target is the app a call is for, as the caller named it.
type Target struct {
	App       string
	Namespace string // empty: the caller's own
	// Given is the target as the caller wrote it, for messages.
	Given string
	// URL is the base of a target outside the mesh, scheme and host with
	// whatever path; App is empty then.
	URL string
}

// name is how messages call the target.
func (t Target) name() string {
	if t.App == "" {
		return t.Given
	}
	return t.App
}

// Key is the target as discovery knows it, with own as the namespace of a bare
// name.
func (t Target) Key(own string) discovery.Key {
	if t.Namespace == "" {
		return discovery.Key{Namespace: own, App: t.App}
	}
	return discovery.Key{Namespace: t.Namespace, App: t.App}
}

// A Call is one exchange's request. A codec makes it, stages may change its
// fields, and it belongs to one goroutine at a time. Its time left is the
// context's deadline.
type Call struct {
	Target Target
	// Verb is the HTTP method, as it came.
	Verb string
	// Path is the request target the app gets: a slash and the raw bytes
	// behind it, query included. Nothing decodes it.
	Path string
	// Asked is the request target as the client wrote it to its door, for the
	// API log; "" if the call came through none.
	Asked string
	// Major is the HTTP version the caller speaks: 1 or 2. A gRPC exchange is
	// 2.
	Major int
	// Host is the authority the client addressed, for Forwarded and for
	// messages. The app gets its own address.
	Host string
	// Fields are the header lines without the hop-by-hop ones; each codec
	// removes and adds those of its own hop.
	Fields Fields
	// Body is nil if there is none. Whoever the call is handed to closes it.
	Body Body
	// Length is the body's length; -1 if it is not known, 0 with a nil Body.
	Length int64
	// Upgrade is the protocol the client wants to switch to; "" for none.
	Upgrade string
	// Expect is true if the client waits for 100 Continue before its body.
	// The body's first Read is what sends it.
	Expect bool
	// Remote is the client's address, for the forwarded fields.
	Remote string
	// Caller is who calls: set from our own identity at the caller's side and
	// from the verified certificate at the callee's, never from a field.
	Caller identity.ID
	// Attempt counts from 1. Only is true if the instance that gets the call
	// is the caller's only choice, so that it holds rather than refuses.
	Attempt int
	Only    bool
	// Informational gets each 1xx answer but 101, in order, before the final
	// one. Nil drops them. It must not keep fields.
	Informational func(status int, fields Fields) error
	// Reached, if not nil, is called by whoever writes the call to the app,
	// when its first byte has been written: from then on the app may have seen
	// it. Calls after the first do nothing.
	Reached func()
	// Timing, if not nil, is filled while the call runs.
	Timing *Timing
	// Trace is the traceparent that a door says on the answer if the call
	// fails, set by the stage that traces; an Answer has it among its fields.
	// Empty: nobody traces.
	Trace string
	// RPC is set on a call that Dapr's InvokeService made. An app that speaks
	// gRPC answers such a call as gRPC does: the message, the status and the
	// trailers are its own. Any other call gets an HTTP answer of every app.
	RPC *RPC
}

// EmptyPhrase is the Phrase of an Answer that came with an empty one. No other
// phrase begins with a blank.
const EmptyPhrase = " "

// An Answer is one exchange's final response.
type Answer struct {
	Status int
	// Phrase is the reason phrase the app gave, where it is not the usual one
	// (http.StatusText). EmptyPhrase says that it gave an empty one; "" says
	// nothing, and a door writes the usual one.
	Phrase string
	// Major is the HTTP version the app answered with.
	Major  int
	Fields Fields
	// Body is never nil. The receiver of the Answer closes it; for an
	// upgrade that is what ends the tunnel.
	Body Body
	// Length is -1 if it is not known. Where there is no body though a length
	// was given (HEAD, 304), it is the length that was given.
	Length int64
	// Upgraded carries the client's bytes after a 101 answer; Body carries
	// the app's. CloseWrite is the client's half-close. Nil without upgrade.
	Upgraded WriteHalf
	// Instance, Peer and Endpoint say who answered: the instance's id, the
	// verified identity, and where it was found.
	Instance string
	Peer     identity.ID
	Endpoint discovery.Endpoint
	// Attempts is how many attempts were made for this answer.
	Attempts int
}

// A WriteHalf is the sending direction of a tunnel.
type WriteHalf interface {
	io.Writer
	// CloseWrite ends this direction and leaves the other one open.
	CloseWrite() error
}

// A Handler carries out a call. On success the caller owns the Answer and must
// close its Body; on error there is no Answer, the call's Body is closed, and
// the error is an *apperr.Error that says whether the app was reached.
// When ctx ends, the call is abandoned, also while the answer's body streams.
type Handler interface {
	Serve(ctx context.Context, c *Call) (*Answer, error)
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, c *Call) (*Answer, error)

// Serve calls f.
func (f HandlerFunc) Serve(ctx context.Context, c *Call) (*Answer, error) { return f(ctx, c) }

// A Stage wraps a handler with one concern.
type Stage func(Handler) Handler

// Chain puts stages around h, the first outermost.
func Chain(h Handler, stages ...Stage) Handler {
	for _, stage := range slices.Backward(stages) {
		h = stage(h)
	}
	return h
}

// ErrStopping is in the chain of a Mesh's error if it is being closed by its
// owner, so that no other attempt will do better.
var ErrStopping = errors.New("this sidecar is stopping")

// A Mesh carries one attempt of a call to one instance. The peer must prove
// that it is want before a byte of the call is sent.
type Mesh interface {
	Send(ctx context.Context, to discovery.Endpoint, want identity.ID, c *Call) (*Answer, error)
}

// A Resolver finds instances. discovery.Resolver is the one there is.
type Resolver interface {
	// Endpoints returns the instances of key now. It waits only to ask for a
	// name nobody has seen, and only as long as its sources' patience. The
	// slice is shared and must not be changed.
	Endpoints(ctx context.Context, key discovery.Key) ([]discovery.Endpoint, error)
	// Changed waits until the answer for key may differ from version, and
	// returns the new version; or ctx's cause.
	Changed(ctx context.Context, key discovery.Key, version uint64) (uint64, error)
	// Version is the version Changed compares with.
	Version(key discovery.Key) uint64
	// Known reports whether somebody may expect key to come: it has an entry,
	// answered within the last day, or was declared.
	Known(key discovery.Key) bool
	// Answered notes that key answered just now.
	Answered(key discovery.Key)
	// Failed notes that an instance could not be reached or is not who it
	// should be, and re-reads what is known.
	Failed(e discovery.Endpoint)
	// Near returns what runs in the namespace, and the name among it that is
	// nearest to app, or "".
	Near(key discovery.Key) (running []string, nearest string)
}

// A Presenter is a Resolver that can say what it knows at once.
type Presenter interface {
	// Present returns the instances of key that are known to be there, without
	// waiting for anything or asking anybody. The slice is shared and must not
	// be changed; as long as nothing has changed it is the same one.
	Present(key discovery.Key) []discovery.Endpoint
}

// An External carries calls out of the mesh: to those whose Target has a URL,
// and to the names it knows.
type External interface {
	Handler
	// Knows reports whether a target given as name is one of its own. It must
	// not block.
	Knows(name string) bool
}

// Evidence is what is known about how far an attempt came.
type Evidence struct {
	// NotGreeted is true if the peer had not spoken on the connection.
	NotGreeted bool
	// NotWritten is true if no byte of the call was written.
	NotWritten bool
	// Refused is true if the peer, or the app's HTTP/2, said that it did not
	// hand the call on.
	Refused bool
	// AboveLeaving is true if the peer's last call taken is below this one.
	AboveLeaving bool
}
