// Package filewatch tells of changes to files, for everybody in the process, by
// one watcher. It is a convenience: a change is also seen without an event, only
// later.
package filewatch

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// quiet is how long nothing must happen before a change is told, so that
	// an editor's several steps are one.
	quiet = 100 * time.Millisecond
	// patience is how long somebody may go on writing before it is told anyway.
	patience = time.Second
	// pollAlone is how often files are looked at while there are no events.
	pollAlone = time.Second
	// pollBeside is how often they are looked at beside events, which a file
	// system across a network, or a container's, may not send.
	pollBeside = 15 * time.Second
)

// A Set is what is watched together.
type Set struct {
	// Paths are files, and folders with the files in them but without the
	// folders in them. They need not be there yet.
	Paths []string
	// Ignore, if not nil, reports whether a file of a folder does not count.
	Ignore func(path string) bool
}

// A Watcher watches sets of files. It is safe for concurrent use.
type Watcher struct {
	log  *slog.Logger
	poke chan struct{} // somebody came or went
	open func() (*fsnotify.Watcher, error)
	// alone and beside are how often the files are looked at without events
	// and with them.
	alone, beside time.Duration

	mu   sync.Mutex // guards what follows
	sets map[*set]bool
}

// New makes a watcher; nothing is watched before Run. A nil log discards.
func New(log *slog.Logger) *Watcher {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Watcher{
		log: log, poke: make(chan struct{}, 1), open: fsnotify.NewWatcher,
		alone: pollAlone, beside: pollBeside, sets: map[*set]bool{},
	}
}

// Watch has changed called each time something in s has changed since Watch was
// called: a file came, went, was written or replaced. Several changes may be one
// call, and a call may be for nothing: who needs to know what has changed reads
// the files. The calls come one after the other from Run's goroutine. detach
// ends it; a call that has begun may still be running then.
func (w *Watcher) Watch(s Set, changed func()) (detach func()) {
	one := &set{Set: Set{Ignore: s.Ignore}, changed: changed}
	for _, path := range s.Paths {
		if absolute, err := filepath.Abs(path); err == nil {
			path = absolute
		}
		one.Paths = append(one.Paths, filepath.Clean(path))
	}
	one.last = one.look()
	w.mu.Lock()
	w.sets[one] = true
	w.mu.Unlock()
	w.nudge()
	return func() {
		w.mu.Lock()
		delete(w.sets, one)
		w.mu.Unlock()
		w.nudge()
	}
}

func (w *Watcher) nudge() {
	select {
	case w.poke <- struct{}{}:
	default: // it will look anyway
	}
}

// Run watches until ctx ends, and returns nil. If the system gives no events, it
// says so once and looks each second.
func (w *Watcher) Run(ctx context.Context) error {
	r := &running{w: w, poll: time.NewTimer(w.beside)}
	defer r.poll.Stop()
	r.run(ctx)
	if r.events != nil {
		_ = r.events.Close() // nobody listens any more
	}
	return nil
}

func (w *Watcher) all() []*set {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]*set, 0, len(w.sets))
	for s := range w.sets {
		out = append(out, s)
	}
	return out
}

func (w *Watcher) has(s *set) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sets[s]
}

// running is a Watcher while it runs: the business of one goroutine.
type running struct {
	w      *Watcher
	events *fsnotify.Watcher // nil before the first set, and without events
	deaf   bool              // there are no events
	poll   *time.Timer
}

// giveUp goes on without events.
func (r *running) giveUp(err error) {
	r.events, r.deaf = nil, true
	r.poll.Reset(r.w.alone)
	r.w.log.Warn("the system does not tell of changes to files: they are looked at each second", "err", err)
}

func (r *running) every() time.Duration {
	if r.deaf {
		return r.w.alone
	}
	return r.w.beside
}

func (r *running) run(ctx context.Context) {
	r.follow()
	r.look()
	due := time.NewTimer(time.Hour)
	due.Stop()
	for {
		var events chan fsnotify.Event
		var errs chan error
		if r.events != nil {
			events, errs = r.events.Events, r.events.Errors
		}
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			r.heard(e)
		case err := <-errs:
			// Events were lost, or the watcher has failed: look at everything.
			r.w.log.Debug("events of files were lost", "err", err)
			r.look()
		case <-r.w.poke:
			r.follow()
			r.look()
		case <-r.poll.C:
			r.poll.Reset(r.every())
			r.look()
			r.follow()
		case <-due.C:
			r.tell()
			r.follow()
		}
		if at, waiting := r.next(); waiting {
			due.Reset(time.Until(at))
		} else {
			due.Stop()
		}
	}
}

// heard notes an event for the sets it belongs to.
func (r *running) heard(e fsnotify.Event) {
	if e.Op == fsnotify.Chmod {
		return // nothing was written
	}
	for _, s := range r.w.all() {
		if s.concerns(filepath.Clean(e.Name)) {
			s.touch()
		}
	}
}

// look notes what has changed without an event.
func (r *running) look() {
	for _, s := range r.w.all() {
		if s.touched.IsZero() && s.look() != s.last {
			s.touch()
		}
	}
}

// next is when the first change is to be told.
func (r *running) next() (at time.Time, waiting bool) {
	for _, s := range r.w.all() {
		if one := s.due(); !one.IsZero() && (!waiting || one.Before(at)) {
			at, waiting = one, true
		}
	}
	return at, waiting
}

// tell tells what is due.
func (r *running) tell() {
	now := time.Now()
	for _, s := range r.w.all() {
		if at := s.due(); at.IsZero() || at.After(now) || !r.w.has(s) {
			continue
		}
		s.first, s.touched = time.Time{}, time.Time{}
		s.last = s.look()
		s.changed()
	}
}

// hears reports whether there are events, and sees to it if somebody needs them.
func (r *running) hears(needed bool) bool {
	if r.events != nil || r.deaf || !needed {
		return r.events != nil
	}
	events, err := r.w.open()
	if err != nil {
		r.giveUp(err)
		return false
	}
	r.events = events
	return true
}

// follow has the system tell of the folders that now count, and of no others.
func (r *running) follow() {
	sets := r.w.all()
	if !r.hears(len(sets) > 0) {
		return
	}
	want := map[string]bool{}
	for _, s := range sets {
		for _, path := range s.Paths {
			want[folderOf(path)] = true
		}
	}
	added := false
	for _, have := range r.events.WatchList() {
		if !want[have] {
			_ = r.events.Remove(have) // it has gone, or nobody asks
		}
		delete(want, have)
	}
	for folder := range want {
		if err := r.events.Add(folder); err != nil {
			if folderOf(folder) != folder {
				continue // it went meanwhile; the next look finds where it was
			}
			_ = r.events.Close() // it is of no use any more
			r.giveUp(err)
			return
		}
		added = true
	}
	if added {
		r.look() // something may have happened before it was watched
	}
}
