package invoke

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// replayWindow is how much of a request body is kept for another attempt;
// replayBudget is what all calls of a process may keep together.
const (
	replayWindow = 64 << 10
	replayBudget = 16 << 20
	replayChunk  = 4 << 10
	// closeWait bounds the wait for the reader of a body whose Close does not
	// release its Read as Body's contract says.
	closeWait = 100 * time.Millisecond
)

var errBodyClosed = errors.New("the body is closed")

// budget is the memory replay buffers may still take.
type budget struct{ left atomic.Int64 }

func newBudget(size int64) *budget {
	b := new(budget)
	b.left.Store(size)
	return b
}

func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

func (b *budget) give(n int64) { b.left.Add(n) }

// A replay lets several attempts, one after the other, read one body: each
// from its first byte. What streams through is kept while it fits the window;
// nobody waits for it to be kept. The first read behind the window commits the
// call to the attempt that made it.
type replay struct {
	src    Body
	length int64
	budget *budget
	done   chan struct{} // closed when fill has ended

	mu      sync.Mutex // guards what follows
	changed sync.Cond
	buf     []byte
	taken   int64 // of the budget
	err     error // of src, behind buf
	started bool
	full    bool // fill has ended without reaching src's end
	outran  bool // something behind the window has been read
	closed  bool
}

func newReplay(src Body, length int64, b *budget) *replay {
	r := &replay{src: src, length: length, budget: b, done: make(chan struct{})}
	r.changed.L = &r.mu
	return r
}

// attempt is the body for one attempt. The one before must be closed.
func (r *replay) attempt() Body { return &replayView{r: r} }

// possible reports whether another attempt could still read the whole body.
func (r *replay) possible() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.outran && !r.closed
}

// close ends the source and the reading of it.
func (r *replay) close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	started := r.started
	r.changed.Broadcast()
	r.mu.Unlock()
	err := r.src.Close()
	if started {
		r.await()
	}
	r.mu.Lock()
	r.release()
	r.mu.Unlock()
	return err
}

func (r *replay) await() {
	select {
	case <-r.done:
		return
	default:
	}
	t := time.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-r.done:
	case <-t.C:
	}
}

// release gives the buffer back; mu is held.
func (r *replay) release() {
	r.budget.give(r.taken)
	r.taken, r.buf = 0, nil
}

// fill reads src into the buffer until the window is full, src has ended, or
// the call is over.
func (r *replay) fill() {
	defer close(r.done)
	for {
		spare := r.spare()
		if spare == nil {
			return
		}
		n, err := r.src.Read(spare)
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return
		}
		r.buf = r.buf[:len(r.buf)+n]
		r.err = err
		r.changed.Broadcast()
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// spare returns room behind the buffer, or nil if there is to be no more.
func (r *replay) spare() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	if len(r.buf) == cap(r.buf) && !r.grow() {
		r.full = true
		r.changed.Broadcast()
		return nil
	}
	return r.buf[len(r.buf):cap(r.buf)]
}

// grow makes the buffer larger if window and budget allow it; mu is held.
func (r *replay) grow() bool {
	size := max(2*cap(r.buf), replayChunk)
	if cap(r.buf) == 0 && r.length >= 0 {
		size = int(min(r.length+1, replayWindow))
	}
	size = min(size, replayWindow)
	more := int64(size - cap(r.buf))
	if more <= 0 || !r.budget.take(more) {
		return false
	}
	r.taken += more
	larger := make([]byte, len(r.buf), size)
	copy(larger, r.buf)
	r.buf = larger
	return true
}

// A replayView is the body as one attempt reads it.
type replayView struct {
	r   *replay
	pos int // used by the reader only

	closed bool // guarded by r.mu
	ended  bool // guarded by r.mu
	direct bool // guarded by r.mu: this view reads src itself
}

func (v *replayView) Read(p []byte) (int, error) {
	r := v.r
	r.mu.Lock()
	if !r.started && !v.closed && !r.closed {
		r.started = true
		go r.fill()
	}
	for {
		switch {
		case v.closed || r.closed:
			r.mu.Unlock()
			return 0, errBodyClosed
		case v.pos < len(r.buf) && !v.direct:
			n := copy(p, r.buf[v.pos:])
			v.pos += n
			var err error
			if v.pos == len(r.buf) && r.err != nil {
				v.ended, err = r.err == io.EOF, r.err //nolint:errorlint // an error that wraps EOF is no end
			}
			r.mu.Unlock()
			return n, err
		case r.err != nil:
			v.ended = r.err == io.EOF //nolint:errorlint // an error that wraps EOF is no end
			err := r.err
			r.mu.Unlock()
			return 0, err
		case r.full:
			if !v.direct {
				r.outran, v.direct = true, true
				r.release()
			}
			r.mu.Unlock()
			return r.src.Read(p)
		}
		r.changed.Wait()
	}
}

// Whole implements WholeBody: once the source has ended within the window.
func (v *replayView) Whole() ([]byte, bool) {
	rest, trailers, ok := v.Complete()
	return rest, ok && len(trailers) == 0
}

// Complete implements CompleteBody.
func (v *replayView) Complete() ([]byte, Fields, bool) {
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	if v.closed || v.r.closed || v.direct || v.r.err != io.EOF { //nolint:errorlint // an error that wraps EOF is no end
		return nil, nil, false
	}
	return v.r.buf[v.pos:], v.r.src.Trailers(), true
}

// Close releases a Read of this view. The source stays open for the next
// attempt, unless there can be none.
func (v *replayView) Close() error {
	v.r.mu.Lock()
	v.closed = true
	direct := v.direct
	v.r.changed.Broadcast()
	v.r.mu.Unlock()
	if direct {
		return v.r.src.Close()
	}
	return nil
}

func (v *replayView) Trailers() Fields {
	v.r.mu.Lock()
	ended := v.ended || v.direct
	v.r.mu.Unlock()
	if !ended {
		return nil
	}
	return v.r.src.Trailers()
}
