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
	add  func(events *fsnotify.Watcher, folder string) error
	// silent says that events are not wanted.
	silent bool
	// alone and beside are how often the files are looked at without events
	// and with them.
	alone, beside time.Duration

	mu  sync.Mutex // guards what follows
	all map[*watched]bool
}

// New makes a watcher; nothing is watched before Run. A nil log discards.
func New(log *slog.Logger) *Watcher {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Watcher{
		log: log, poke: make(chan struct{}, 1), open: fsnotify.NewWatcher, add: addFolder,
		alone: pollAlone, beside: pollBeside, all: map[*watched]bool{},
	}
}

// NewPolling makes a watcher that only looks at the files, each time every has
// passed, for file systems whose changes the system does not tell of.
func NewPolling(log *slog.Logger, every time.Duration) *Watcher {
	w := New(log)
	w.silent, w.alone = true, every
	return w
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
	return w.attach(one)
}

func (w *Watcher) attach(t thing) (detach func()) {
	one := &watched{thing: t}
	w.mu.Lock()
	w.all[one] = true
	w.mu.Unlock()
	w.nudge()
	return func() {
		w.mu.Lock()
		delete(w.all, one)
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
	r := &running{w: w, deaf: w.silent, poll: time.NewTimer(w.beside)}
	defer r.poll.Stop()
	r.run(ctx)
	r.ear.close()
	return nil
}

func (w *Watcher) everything() []*watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]*watched, 0, len(w.all))
	for one := range w.all {
		out = append(out, one)
	}
	return out
}

func (w *Watcher) has(one *watched) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all[one]
}
