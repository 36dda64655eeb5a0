package app

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/rpc"
)

// What is buffered of answers nobody has read yet.
const (
	linkWindow   = 4 << 20
	streamWindow = 256 << 10
)

// stdLinks are HTTP/2 connections to the app that the Go library drives: the
// reference for links. Each is driven by itself: the library's own pool would
// repeat calls.
type stdLinks struct {
	place     *place
	crew      *crew
	transport *http2.Transport //nolint:staticcheck // deprecated for net/http's, which gives less say in what is repeated
	fault     error

	mu      sync.Mutex // guards what follows
	open    []*stdLink
	dialing chan struct{} // closed when the dial in progress has ended; nil without
	closed  bool
}

type stdLink struct {
	*http2.ClientConn
	host string
	spot *spot
}

func newStdLinks(p *place, c *crew) *stdLinks {
	// The windows can be set only by way of net/http's transport, which is
	// used for nothing else.
	//nolint:staticcheck // see stdLinks.transport
	transport, err := http2.ConfigureTransports(&http.Transport{
		DisableCompression:     true, // Accept-Encoding is between the apps
		MaxResponseHeaderBytes: maxHead,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerConnection: linkWindow,
			MaxReceiveBufferPerStream:     streamWindow,
		},
	})
	if err == nil {
		transport.StrictMaxConcurrentStreams = true //nolint:staticcheck // see stdLinks.transport; we choose when to dial
		transport.AllowHTTP = true                  //nolint:staticcheck // see stdLinks.transport
	}
	return &stdLinks{place: p, crew: c, transport: transport, fault: err}
}

// exchange hands the call on as one HTTP/2 stream. A stream that the app
// proves not to have processed, because it was closing the connection, is
// opened anew on another one; nothing else is repeated.
func (l *stdLinks) exchange(ctx context.Context, h *handover) (*invoke.Answer, error) {
	if err := checkStdCall(h.call); err != nil {
		return nil, err
	}
	body := newStreamBody(h.call, l.crew)
	for try := 0; ; try++ {
		cc, err := l.get(ctx)
		if err != nil {
			return nil, err
		}
		ans, err := l.attempt(ctx, cc, h, body)
		if err == nil {
			return ans, nil
		}
		if !isStdLeaving(err) || body.touched() || try == linkRedials || ctx.Err() != nil {
			return nil, err
		}
		l.drop(cc)
	}
}

// get returns a connection with a stream reserved on it.
func (l *stdLinks) get(ctx context.Context) (*stdLink, error) {
	for {
		cc, wait, err := l.pick()
		switch {
		case err != nil:
			return nil, err
		case cc != nil:
			return cc, nil
		case wait == nil:
			if err := l.dial(ctx); err != nil {
				return nil, err
			}
			continue
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// pick returns a connection with room; or a dial in progress to wait for; or
// neither, and the caller has to dial.
func (l *stdLinks) pick() (*stdLink, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault != nil || l.closed {
		return nil, nil, errors.Join(l.fault, errPoolClosed)
	}
	l.sweep()
	var least *stdLink
	fewest := 0
	for _, cc := range l.open {
		s := cc.State()
		active := s.StreamsActive + s.StreamsReserved + s.StreamsPending
		if active < int(s.MaxConcurrentStreams) && cc.ReserveNewRequest() {
			return cc, nil, nil
		}
		if least == nil || active < fewest {
			least, fewest = cc, active
		}
	}
	if l.dialing != nil {
		return nil, l.dialing, nil
	}
	if len(l.open) >= maxLinks && least.ReserveNewRequest() {
		return least, nil, nil // the library waits for a stream to end
	}
	l.dialing = make(chan struct{})
	return nil, nil, nil
}

// sweep forgets connections that end, or lead where the app was. The lock is
// held.
func (l *stdLinks) sweep() {
	at := l.place.spot()
	l.open = slices.DeleteFunc(l.open, func(cc *stdLink) bool {
		s := cc.State()
		if s.Closed || s.Closing || cc.spot != at {
			cc.SetDoNotReuse()
			return true
		}
		return false
	})
}

// dial makes one more connection, for everybody who waits.
func (l *stdLinks) dial(ctx context.Context) error {
	at := l.place.spot()
	cc, err := l.connect(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.dialing)
	l.dialing = nil
	if err != nil {
		return err
	}
	cc.spot = at
	if l.closed {
		_ = cc.Close() // nobody wants it
		return errPoolClosed
	}
	l.open = append(l.open, cc)
	return nil
}

func (l *stdLinks) connect(ctx context.Context) (*stdLink, error) {
	c, host, err := l.place.dial(ctx)
	if err != nil {
		return nil, err
	}
	if l.place.secure() && !choseH2(c) {
		_ = c.Close() // it speaks something else
		l.place.choseHTTP2.Store(false)
		return nil, malformed("no HTTP/2 in the TLS handshake")
	}
	cc, err := l.transport.NewClientConn(c) //nolint:staticcheck // see stdLinks.transport
	if err != nil {
		_ = c.Close() // already reporting the first error
		return nil, &dialError{err: err}
	}
	return &stdLink{ClientConn: cc, host: host}, nil
}

// drop makes sure that no new stream is opened on cc; those on it end in peace.
func (l *stdLinks) drop(cc *stdLink) {
	cc.SetDoNotReuse()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = slices.DeleteFunc(l.open, func(other *stdLink) bool { return other == cc })
}

// close ends the connections; with streams still on them when those end.
func (l *stdLinks) close() {
	l.mu.Lock()
	l.closed = true
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for _, cc := range open {
		_ = cc.Close() // it is not needed any more
	}
}

// forget lets go of every connection: the app is a new one.
func (l *stdLinks) forget() {
	l.mu.Lock()
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for _, cc := range open {
		cc.SetDoNotReuse()
		if s := cc.State(); s.StreamsActive == 0 {
			_ = cc.Close() // it is not needed any more
		}
	}
}

// attempt makes the exchange on one connection.
func (l *stdLinks) attempt(ctx context.Context, cc *stdLink, h *handover, body *streamBody) (*invoke.Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	trace := &httptrace.ClientTrace{WroteHeaders: h.wrote}
	if inform := h.call.Informational; inform != nil || h.call.Expect {
		trace.Got1xxResponse = func(status int, header textproto.MIMEHeader) error {
			if status == http.StatusContinue {
				body.proceed()
			}
			if inform == nil {
				return nil
			}
			return inform(status, fieldsOf(http.Header(header)))
		}
	}
	//nolint:bodyclose // streamAnswer closes it
	res, err := cc.RoundTrip(l.request(httptrace.WithClientTrace(ctx, trace), cc, h, body))
	if err != nil {
		cancel(nil)
		return nil, body.blame(err)
	}
	body.release()
	fields := fieldsOf(res.Header)
	length := res.ContentLength
	invoke.StripHopByHop(&fields)
	return &invoke.Answer{
		Status: res.StatusCode, Major: res.ProtoMajor, Fields: fields, Length: length,
		Body: &streamAnswer{res: res, body: body, cause: func() error { return context.Cause(ctx) }, end: func() {
			cancel(nil)
			h.ended()
		}},
	}, nil
}

// request is the call as net/http has it.
func (l *stdLinks) request(ctx context.Context, cc *stdLink, h *handover, body *streamBody) *http.Request {
	c := h.call
	scheme := "http"
	if l.place.secure() {
		scheme = "https"
	}
	// An opaque URL is the one way to send the target's bytes as they are.
	target := &url.URL{Scheme: scheme, Host: cc.host, Opaque: "//" + cc.host + c.Path}
	req := (&http.Request{
		Method: c.Verb, URL: target, Host: cc.host, Header: headerOf(ctx, h),
		Proto: "HTTP/2.0", ProtoMajor: 2,
	}).WithContext(ctx)
	switch {
	case c.Body == nil:
	case c.Length == 0:
		l.crew.closeBody(c) // there is nothing in it
	default:
		req.Body, req.ContentLength = body, c.Length
		req.Trailer = announced(c.Fields)
		body.trailers = req.Trailer
	}
	return req
}

// announced are the trailers that the caller announced, for their values to be
// put in when the body has ended. The library announces them in its own words.
func announced(fields invoke.Fields) http.Header {
	trailers := http.Header{}
	for _, line := range fields.Values("trailer") {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.Trim(name, " \t"); isTrailer(name) {
				trailers[http.CanonicalHeaderKey(name)] = nil
			}
		}
	}
	return trailers
}

// isTrailer reports whether a field may stand behind a body (RFC 9110 §6.5.1).
func isTrailer(name string) bool {
	return isToken(name) && !skipped(name, nil) && !strings.EqualFold(name, "trailer")
}

// headerOf are the call's fields for the app.
func headerOf(ctx context.Context, h *handover) http.Header {
	c := h.call
	named := invoke.Nominated(c.Fields)
	header := make(http.Header, len(c.Fields)+2)
	for _, f := range c.Fields {
		if skipped(f.Name, named) || strings.EqualFold(f.Name, "trailer") {
			continue
		}
		name := http.CanonicalHeaderKey(f.Name)
		header[name] = append(header[name], f.Value)
	}
	if h.token != "" {
		header["Dapr-Api-Token"] = []string{h.token}
	}
	if _, given := header["User-Agent"]; !given {
		header["User-Agent"] = []string{""} // else the library adds its own
	}
	if c.Expect && c.Body != nil {
		header["Expect"] = []string{"100-continue"}
	}
	if isGRPC(c) {
		header["Te"] = []string{"trailers"} // gRPC servers demand it
		if left := rpc.Timeout(ctx); left != "" {
			header["Grpc-Timeout"] = []string{left}
		}
	}
	return header
}

// checkStdCall says whether the call can be sent as it is.
func checkStdCall(c *invoke.Call) error {
	_, err := appendRequest(nil, &handover{call: c}, "")
	return err
}

// fieldsOf are header lines in a certain order, for net/http has none.
func fieldsOf(header http.Header) invoke.Fields {
	names := make([]string, 0, len(header))
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	fields := make(invoke.Fields, 0, len(names))
	for _, name := range names {
		for _, value := range header[name] {
			fields.Add(name, value)
		}
	}
	return fields
}

// isStdLeaving reports whether err proves the stream not processed because its
// connection takes no more. The library keeps these errors to itself, but not
// their words; if those change, a call counts as possibly seen, which is the
// safe side, and a test says so.
func isStdLeaving(err error) bool {
	switch err.Error() {
	case "http2: Transport received Server's graceful shutdown GOAWAY",
		"http2: client conn not usable",
		"http2: client conn could not be established":
		return true
	default:
		return false
	}
}
