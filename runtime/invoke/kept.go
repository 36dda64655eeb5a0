package invoke

import (
	"io"
	"sync"
)

// replays is one body for several attempts, one after the other.
type replays interface {
	// attempt is the body for one attempt. The one before must be closed.
	attempt() Body
	// possible reports whether another attempt could still read the whole body.
	possible() bool
	// close ends the source and the reading of it.
	close() error
}

// A once is a body for the only attempt.
type once struct{ Body }

func (o once) attempt() Body { return o.Body }
func (once) possible() bool  { return false }
func (o once) close() error  { return o.Close() }

// A kept is a body that is there already, so that nothing needs to be kept of
// it: each attempt reads the same bytes.
type kept struct {
	src      Body
	data     []byte
	trailers Fields
	first    keptView
	given    bool // first is taken

	mu     sync.Mutex // guards what follows, and the reading of data
	closed bool
}

// keep makes k serve src, if all of that is there.
func (k *kept) keep(src Body) bool {
	data, trailers, ok := Complete(src)
	if !ok {
		return false
	}
	k.src, k.data, k.trailers = src, data, trailers
	return true
}

func (k *kept) attempt() Body {
	if !k.given {
		k.given = true
		k.first.of = k
		return &k.first
	}
	return &keptView{of: k}
}

func (k *kept) possible() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.closed
}

func (k *kept) close() error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return nil
	}
	k.closed, k.data = true, nil
	k.mu.Unlock()
	return k.src.Close()
}

// A keptView is the body as one attempt reads it.
type keptView struct {
	of     *kept
	pos    int  // guarded by of.mu, as is what follows
	ended  bool // io.EOF was given
	closed bool
}

func (v *keptView) Read(p []byte) (int, error) {
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	switch {
	case v.closed || v.of.closed:
		return 0, errBodyClosed
	case v.pos == len(v.of.data):
		v.ended = true
		return 0, io.EOF
	}
	n := copy(p, v.of.data[v.pos:])
	v.pos += n
	return n, nil
}

func (v *keptView) Close() error {
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	v.closed = true
	return nil
}

func (v *keptView) Trailers() Fields {
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	if !v.ended {
		return nil
	}
	return v.of.trailers
}

func (v *keptView) Whole() ([]byte, bool) {
	rest, trailers, ok := v.Complete()
	return rest, ok && len(trailers) == 0
}

func (v *keptView) Complete() ([]byte, Fields, bool) {
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	if v.closed || v.of.closed {
		return nil, nil, false
	}
	return v.of.data[v.pos:], v.of.trailers, true
}
