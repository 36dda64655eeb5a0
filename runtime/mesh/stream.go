package mesh

import (
	"sync"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// An end is what the two sides of a call do differently.
type end interface {
	// received is called when the peer's direction has ended well. Its error
	// is a violation.
	received() error
	// reset is called when the peer has given the call up.
	reset(payload []byte)
	// reject ends the call because of what the peer sent.
	reject(cause error)
}

// A stream is one call on a link.
type stream struct {
	l    *link
	end  end
	in   inbox
	done chan struct{} // closed when nothing more is to be sent

	id   uint32
	once sync.Once // closes done

	// What follows is guarded by the link's mutex.
	start   uint64        // where the call begins in what was queued on the link
	window  int           // the call's window
	sent    int           // bytes sent and not given back
	need    int           // bytes it is blocked for
	room    chan struct{} // capacity 1: it may go on
	blocked bool
}

func (s *stream) init(l *link, e end) {
	s.l, s.end = l, e
	s.done = make(chan struct{})
	s.in.ready = make(chan struct{}, 1)
	s.window = callWindow
}

// ended notes that the peer's direction has ended with trailers behind it.
func (s *stream) ended(trailers invoke.Fields) error {
	if err := s.in.end(trailers); err != nil {
		return err
	}
	return s.end.received()
}

func (s *stream) reset(payload []byte) { s.end.reset(payload) }

// trailed is ended with what the peer says are trailers.
func (s *stream) trailed(trailers invoke.Fields) error {
	if wrong := checkFields(trailers); wrong != nil {
		s.end.reject(wrong)
		return nil
	}
	return s.ended(trailers)
}

// stop ends our sending.
func (s *stream) stop() { s.once.Do(func() { close(s.done) }) }

// read reads what the peer sends. It waits for the first byte only.
func (s *stream) read(p []byte) (int, error) {
	for {
		n, back, wait, err := s.in.take(p)
		if back > 0 {
			s.consumed(back)
		}
		if !wait {
			return n, err
		}
		<-s.in.ready
	}
}

// consumed gives n bytes back to the sender. The link may have ended: then
// nobody wants them.
func (s *stream) consumed(n int) {
	if s.l.stream(s.id) == s {
		_ = s.l.window(s.id, n)
		return
	}
	_ = s.l.giveBack(n)
}

// drop makes every read end with err and gives back what nobody will read.
func (s *stream) drop(err error) {
	if n := s.in.shut(err); n > 0 {
		_ = s.l.giveBack(n) // the link has ended: nobody wants it
	}
}

// lastFrame is the frame that ends our direction, with the trailers.
func lastFrame(trailers invoke.Fields) (kind, []byte) {
	if len(trailers) == 0 {
		return kindData | flagEnd, nil
	}
	return kindTrailers, appendFields(nil, trailers)
}

// finish ends our direction with the trailers.
func (s *stream) finish(trailers invoke.Fields) error {
	k, payload := lastFrame(trailers)
	return s.l.send(s, k, payload)
}

func (s *stream) isStopped() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}
