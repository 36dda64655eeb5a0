package mesh

import (
	"sync"
	"sync/atomic"

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
	// wake tells who waits for the call that something has come. The link's
	// reader calls it, once for all that came together.
	wake()
}

// A stream is one call on a link.
type stream struct {
	gate
	l   *link
	end end
	in  inbox
	id  uint32

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
	s.in.more.L = &s.in.mu
	s.window = callWindow
}

// ended notes that the peer's direction has ended with trailers behind it. The
// reader calls it.
func (s *stream) ended(trailers invoke.Fields) error {
	if err := s.in.end(trailers); err != nil {
		return err
	}
	s.l.tell(s)
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

// read reads what the peer sends. It waits for the first byte only.
func (s *stream) read(p []byte) (int, error) {
	in := &s.in
	in.mu.Lock()
	n, back, wait, err := in.take(p, s.l)
	for wait {
		in.more.Wait()
		n, back, wait, err = in.take(p, s.l)
	}
	ended := in.ended
	in.mu.Unlock()
	switch {
	case back == 0:
	case ended: // the call needs them no more, the link does
		s.l.release(back)
	default:
		_ = s.l.window(s.id, back) // the link has ended: nobody wants them
		s.l.push()
	}
	return n, err
}

// drop makes every read end with err and gives back what nobody will read.
func (s *stream) drop(err error) { s.l.release(s.in.shut(err)) }

// giveUp is drop by who lent what has come, when nobody holds it any more.
func (s *stream) giveUp(err error) { s.l.release(s.in.giveUp(err)) }

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

// A gate is shut when nothing more of a call is to be sent.
type gate struct {
	isShut atomic.Bool

	mu   sync.Mutex    // guards what follows
	done chan struct{} // nil as long as nobody waits for it
}

// stop ends our sending.
func (g *gate) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isShut.Swap(true) && g.done != nil {
		close(g.done)
	}
}

// Done is closed when nothing more is to be sent.
func (g *gate) Done() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.done == nil {
		g.done = make(chan struct{})
		if g.isShut.Load() {
			close(g.done)
		}
	}
	return g.done
}

func (g *gate) isStopped() bool { return g.isShut.Load() }
