package app

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/callctx"
	"github.com/pillion-dev/pillion/runtime/h2"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Bounds of HTTP/2 to the app: connections, and how many further ones are tried
// for a call that one of them did not take.
const (
	maxLinks    = 32
	linkRedials = 2
)

// A linkage carries calls to the app over HTTP/2.
type linkage interface {
	exchange(ctx context.Context, h *handover) (*invoke.Answer, error)
	// close ends the connections, with what runs on them.
	close()
	// forget lets go of the connections: the app is a new one. What runs on
	// them may end.
	forget()
}

// links are the HTTP/2 connections to the app: one, and a further one while
// those there are have no room for another stream.
type links struct {
	place *place
	crew  *crew

	mu      sync.Mutex // guards what follows
	open    []*link
	dialing chan struct{} // closed when the dial in progress has ended; nil without
	closed  bool
}

type link struct {
	*h2.Client
	nc   net.Conn
	host string // the app's own address
	spot *spot
}

// A choice is how a call gets its connection.
type choice struct {
	cc      *link           // nil: dial
	ready   bool            // cc has a place for the call
	dialing <-chan struct{} // wait for the dial in progress instead
}

func newLinks(p *place, c *crew) *links { return &links{place: p, crew: c} }

// exchange hands the call on as one HTTP/2 stream. A stream that the app
// proves not to have processed, because it was closing the connection, is
// opened anew on another one; nothing else is repeated.
func (l *links) exchange(ctx context.Context, h *handover) (*invoke.Answer, error) {
	if err := checkTarget(h.call); err != nil {
		return nil, err
	}
	p := newPassage(ctx, h, l)
	for try := 0; ; try++ {
		cc, err := l.get(ctx)
		if err != nil {
			return nil, err
		}
		ans, err := p.attempt(cc)
		if err == nil {
			return ans, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		untaken := isUntaken(err)
		if cc.Usable() && untaken { // it is the call that cannot be sent
			return nil, badCall(apperr.ProtocolError, err.Error()+" to an app")
		}
		if !untaken || try == linkRedials || !p.again() {
			return nil, linkError(err)
		}
		l.drop(cc)
	}
}

// get returns a connection with a place for a stream.
func (l *links) get(ctx context.Context) (*link, error) {
	for {
		way, err := l.choose()
		switch {
		case err != nil:
			return nil, err
		case way.ready:
			return way.cc, nil
		case way.dialing != nil:
			select {
			case <-way.dialing:
			case <-ctx.Done():
				return nil, callctx.Cause(ctx)
			}
		case way.cc == nil:
			if err := l.dial(ctx); err != nil {
				return nil, err
			}
		case way.cc.Reserve(ctx) == nil:
			return way.cc, nil
		case ctx.Err() != nil:
			return nil, callctx.Cause(ctx)
		}
	}
}

// choose takes the first connection with room. If there is none a further one
// is dialled, while there may be more.
func (l *links) choose() (choice, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return choice{}, errPoolClosed
	}
	l.sweep()
	var least *link
	fewest := 0
	for _, cc := range l.open {
		if cc.TryReserve() {
			return choice{cc: cc, ready: true}, nil
		}
		if open := cc.Open(); least == nil || open < fewest {
			least, fewest = cc, open
		}
	}
	switch {
	case l.dialing != nil:
		return choice{dialing: l.dialing}, nil
	case len(l.open) >= maxLinks:
		return choice{cc: least}, nil // one of its streams has to end
	}
	l.dialing = make(chan struct{})
	return choice{}, nil
}

// sweep forgets connections that end, or lead where the app was. The lock is
// held.
func (l *links) sweep() {
	at := l.place.spot()
	stale := func(cc *link) bool { return cc.spot != at || !cc.Usable() }
	if !slices.ContainsFunc(l.open, stale) {
		return
	}
	l.open = slices.DeleteFunc(l.open, func(cc *link) bool {
		if !stale(cc) {
			return false
		}
		cc.Retire()
		return true
	})
}

// dial makes one more connection, for everybody who waits.
func (l *links) dial(ctx context.Context) error {
	cc, err := l.connect(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.dialing)
	l.dialing = nil
	if err != nil {
		return err
	}
	if l.closed || !l.crew.run(cc.Run) {
		_ = cc.nc.Close() // nobody wants it
		return errPoolClosed
	}
	l.open = append(l.open, cc)
	return nil
}

func (l *links) connect(ctx context.Context) (*link, error) {
	at := l.place.spot()
	c, host, err := l.place.dial(ctx)
	if err != nil {
		return nil, err
	}
	if l.place.secure() && !choseH2(c) {
		_ = c.Close() // it speaks something else
		l.place.choseHTTP2.Store(false)
		return nil, malformed("no HTTP/2 in the TLS handshake")
	}
	return &link{Client: h2.NewClient(c), nc: c, host: host, spot: at}, nil
}

// drop makes sure that no new stream is opened on cc; those on it end in peace.
func (l *links) drop(cc *link) {
	cc.Retire()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = slices.DeleteFunc(l.open, func(other *link) bool { return other == cc })
}

func (l *links) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	for _, cc := range l.take() {
		cc.Close()
	}
}

func (l *links) forget() {
	for _, cc := range l.take() {
		cc.Retire()
	}
}

func (l *links) take() []*link {
	l.mu.Lock()
	defer l.mu.Unlock()
	open := l.open
	l.open = nil
	return open
}

// checkTarget says whether an app can be asked for what the call asks.
func checkTarget(c *invoke.Call) error {
	if !isToken(c.Verb) || c.Verb == "CONNECT" {
		return badCall(apperr.MethodRefused, "the method "+strconv.Quote(c.Verb)+" cannot be sent to an app")
	}
	if !isTarget(c.Path) {
		return badCall(apperr.TargetInvalid, "the path "+strconv.Quote(c.Path)+" cannot be sent to an app")
	}
	return nil
}

// isUntaken reports whether err proves that the app did not process the stream
// because its connection takes no more.
func isUntaken(err error) bool {
	proof := h2.Evidence(err)
	return proof.AboveLeaving || proof.NotWritten
}

// proofOf is what an error of either engine proves (RFC 9113 §8.7).
func proofOf(err error) invoke.Evidence {
	if lapse, ok := errors.AsType[*lapseError](err); ok {
		return invoke.Evidence{NotWritten: lapse.untouched}
	}
	if _, ok := errors.AsType[*h2.Error](err); ok {
		return h2.Evidence(err)
	}
	reset, ok := errors.AsType[http2.StreamError](err)
	return invoke.Evidence{
		Refused: ok && reset.Code == http2.ErrCodeRefusedStream, AboveLeaving: isStdLeaving(err),
	}
}

// isRefused reports whether the app's HTTP/2 said that it did not process the
// stream.
func isRefused(err error) bool {
	proof := proofOf(err)
	return proof.Refused || proof.AboveLeaving
}

// linkError is err in the app's words: the caller's body that broke off, or an
// app that breaks the protocol.
func linkError(err error) error {
	if body, ok := errors.AsType[*h2.BodyError](err); ok {
		return &bodyError{err: body.Err}
	}
	e, ok := errors.AsType[*h2.Error](err)
	if ok && !e.Reset && !e.Evidence.AboveLeaving && e.Code != http2.ErrCodeNo && e.Code != http2.ErrCodeCancel {
		return &malformedError{what: e.Error()}
	}
	return err
}
