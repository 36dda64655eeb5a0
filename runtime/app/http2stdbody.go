package app

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// A streamAnswer is an HTTP/2 answer's body.
type streamAnswer struct {
	res   *http.Response
	body  *streamBody
	cause func() error
	end   func()
	once  sync.Once
	ended bool
}

func (s *streamAnswer) Read(p []byte) (int, error) {
	n, err := s.res.Body.Read(p)
	switch {
	case err == io.EOF:
		s.ended = true
		s.finish()
	case err != nil:
		cause := s.cause()
		s.finish()
		if cause != nil {
			return n, errAbandoned(cause)
		}
		return n, errBodyCut(s.body.blame(err))
	}
	return n, err
}

func (s *streamAnswer) Close() error {
	err := s.res.Body.Close()
	s.finish()
	return err
}

func (s *streamAnswer) finish() {
	s.once.Do(s.end)
}

// Trailers are complete once Read has returned io.EOF.
func (s *streamAnswer) Trailers() invoke.Fields {
	if !s.ended {
		return nil
	}
	fields := fieldsOf(s.res.Trailer)
	invoke.StripHopByHop(&fields)
	return fields
}

// streamBody is a call's body as the library reads it. The library closes a
// body whenever it gives up; this one stays whole for another connection until
// something of it was read.
type streamBody struct {
	call     *invoke.Call
	crew     *crew
	go100    chan struct{}
	once     sync.Once
	trailers http.Header // filled when the body ends

	mu       sync.Mutex // guards what follows
	read     bool
	released bool // a stream has it for good
	asked    bool // the library has closed it
	shut     bool // and so have we
	quit     chan struct{}
	failed   error
}

func newStreamBody(c *invoke.Call, crew *crew) *streamBody {
	b := &streamBody{call: c, crew: crew, go100: make(chan struct{}), quit: make(chan struct{})}
	if !c.Expect {
		b.proceed()
	}
	return b
}

func (b *streamBody) proceed() { b.once.Do(func() { close(b.go100) }) }

func (b *streamBody) Read(p []byte) (int, error) {
	if err := b.wait(); err != nil {
		return 0, err
	}
	n, err := b.call.Body.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		for _, f := range b.call.Body.Trailers() {
			if isTrailer(f.Name) && isValue(f.Value) {
				b.trailers.Add(f.Name, f.Value)
			}
		}
	case err != nil:
		b.mu.Lock()
		if !b.asked { // else the stream had failed before
			b.failed = &bodyError{err: err}
		}
		b.mu.Unlock()
	}
	return n, err
}

// wait returns when the body may be read.
func (b *streamBody) wait() error {
	if b.call.Expect {
		timer := time.NewTimer(continueWait)
		defer timer.Stop()
		select {
		case <-b.go100:
		case <-timer.C:
			b.proceed()
		case <-b.quit:
			return io.ErrClosedPipe
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read = true
	return nil
}

// Close is the library's.
func (b *streamBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = true
	b.shutLocked()
	return nil
}

// shutLocked closes the call's body once nobody else may want it.
func (b *streamBody) shutLocked() {
	if b.shut || !b.asked || (!b.read && !b.released) {
		return
	}
	b.shut = true
	close(b.quit)
	b.crew.closeBody(b.call)
}

// release gives the body to the stream that has an answer.
func (b *streamBody) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released = true
	b.shutLocked()
}

func (b *streamBody) touched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

// blame gives the body's own error, if it is what made the stream fail.
func (b *streamBody) blame(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed != nil {
		return b.failed
	}
	return err
}
