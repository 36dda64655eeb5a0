package filewatch

import (
	"context"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A thing is watched: a set or a tree.
type thing interface {
	// folders are those whose events are needed, and how many files are in
	// them, as far as that is known.
	folders() (list []string, files int)
	// concerns reports whether an event may be a change of it.
	concerns(path string, op fsnotify.Op) bool
	// differs looks at the files: are they other than when they were told?
	differs() bool
	// tell tells of a change; false if it is still being written, which is no
	// answer if it must be told now.
	tell(now bool) bool
}

const (
	// dear is how many times the time of a look must pass before the next one,
	// so that large trees do not keep a core busy.
	dear = 50
	// longest is what such a pause is at most: a look also takes long where a
	// busy machine gives it no time.
	longest = 15 * time.Second
)

// A watched is a thing and when to look at it and to tell: Run's alone.
type watched struct {
	thing
	first, touched time.Time // when what is to be told began, and went on; zero for nothing
	unheard        bool      // there are no events for it
	looked         time.Time
	cost           time.Duration // of the last look
}

func (o *watched) touch() {
	o.touched = time.Now()
	if o.first.IsZero() {
		o.first = o.touched
	}
}

// due is when the change is to be told; zero for none.
func (o *watched) due() time.Time {
	if o.touched.IsZero() {
		return time.Time{}
	}
	calm, late := o.touched.Add(quiet), o.first.Add(patience)
	if late.Before(calm) {
		return late
	}
	return calm
}

// look notes what has changed without an event.
func (o *watched) look() {
	if !o.touched.IsZero() {
		return // it will be looked at to be told
	}
	began := time.Now()
	differs := o.differs()
	o.looked = time.Now()
	o.cost = o.looked.Sub(began)
	if differs {
		o.touch()
	}
}

// running is a Watcher while it runs: the business of one goroutine.
type running struct {
	w    *Watcher
	ear  *ear // nil before there is something to watch, and without events
	deaf bool // there are no events
	// asked are the folders that the system was asked to tell of, as they were.
	asked   map[string]fs.FileInfo
	aliases aliases // of those
	poll    *time.Timer
}

// giveUp goes on without events.
func (r *running) giveUp(err error) {
	r.ear.close()
	r.ear, r.deaf = nil, true
	r.w.log.Warn("the system does not tell of changes to files: they are looked at each second",
		append([]any{"err", err}, advice(err)...)...)
}

func (r *running) run(ctx context.Context) {
	r.follow()
	r.look()
	due := time.NewTimer(time.Hour)
	due.Stop()
	for {
		r.poll.Reset(time.Until(r.nextLook()))
		if at, waiting := r.next(); waiting {
			due.Reset(time.Until(at))
		} else {
			due.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-r.ear.some():
			r.hear()
		case <-r.w.poke:
			r.follow()
			r.look()
		case <-r.poll.C:
			r.lookAgain()
			r.follow()
		case <-due.C:
			r.tell()
			r.follow()
		}
	}
}

// hear notes events for those whom they concern.
func (r *running) hear() {
	heard, lost := r.ear.take()
	if lost != nil {
		// Events were lost, or the watcher has failed: look at everything.
		r.w.log.Debug("events of files were lost", "err", lost)
		r.look()
	}
	all := r.w.everything()
	for name, op := range heard {
		for _, path := range r.aliases.of(filepath.Clean(name)) {
			for _, one := range all {
				if one.concerns(path, op) {
					one.touch()
				}
			}
		}
	}
}

// look looks at everything.
func (r *running) look() {
	for _, one := range r.w.everything() {
		one.look()
	}
}

// lookAgain looks at what has not been looked at for long enough.
func (r *running) lookAgain() {
	now := time.Now()
	for _, one := range r.w.everything() {
		if !r.lookAt(one).After(now) {
			one.look()
		}
	}
}

// lookAt is when one is to be looked at beside events or without them.
func (r *running) lookAt(one *watched) time.Time {
	every := r.w.beside
	if r.deaf || one.unheard {
		every = r.w.alone
	}
	return one.looked.Add(max(every, min(dear*one.cost, longest)))
}

// nextLook is when something is to be looked at.
func (r *running) nextLook() time.Time {
	next := time.Now().Add(r.w.beside)
	for _, one := range r.w.everything() {
		if !one.touched.IsZero() {
			continue // it is looked at to be told
		}
		if at := r.lookAt(one); at.Before(next) {
			next = at
		}
	}
	return next
}

// next is when the first change is to be told.
func (r *running) next() (at time.Time, waiting bool) {
	for _, one := range r.w.everything() {
		if due := one.due(); !due.IsZero() && (!waiting || due.Before(at)) {
			at, waiting = due, true
		}
	}
	return at, waiting
}

// tell tells what is due.
func (r *running) tell() {
	now := time.Now()
	for _, one := range r.w.everything() {
		if at := one.due(); at.IsZero() || at.After(now) || !r.w.has(one) {
			continue
		}
		if !one.tell(now.Sub(one.first) >= patience) {
			one.touch()
			continue
		}
		one.first, one.touched = time.Time{}, time.Time{}
	}
}
