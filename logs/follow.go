package logs

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// pollEvery is how long a change may go unnoticed if nobody reports it.
	pollEvery = time.Second
	// checkEvery is how often a run is asked whether it still lives.
	checkEvery = 200 * time.Millisecond
	// A run's folder appears a moment before the run: who saw the one looks
	// each soonEvery for soonFor.
	soonEvery = 20 * time.Millisecond
	soonFor   = 500 * time.Millisecond
	// maxEvents bounds how many events wake once.
	maxEvents = 1000
	// roundLines is how many lines are given out before runs are looked at.
	roundLines = 10_000
)

// follow gives out lines as they come.
func (r *reader) follow(ctx context.Context) error {
	w := r.watch()
	defer w.close()
	for {
		now := time.Now()
		if w.lookForRuns(now) {
			if err := r.addRuns(now, w); err != nil {
				return err
			}
		}
		pending := r.check(now)
		dry, err := r.round(ctx, roundLines)
		if err != nil {
			return err
		}
		if !dry {
			continue
		}
		if err := r.idle(); err != nil || r.over(now) {
			return err
		}
		if err := w.wait(ctx, pending); err != nil {
			return err
		}
	}
}

// idle tells that there is nothing to give out.
func (r *reader) idle() error {
	if r.query.Idle == nil {
		return nil
	}
	return r.query.Idle()
}

// over reports whether nothing that is wanted can come any more.
func (r *reader) over(now time.Time) bool {
	return len(r.feeds) == 0 && r.query.Next == nil ||
		!r.query.Until.IsZero() && now.After(r.query.Until)
}

// check asks runs that were read to their end whether they still live. What a
// run wrote before it ended is read after that. It reports whether runs were
// left out because they were asked a moment ago.
func (r *reader) check(now time.Time) (pending bool) {
	for _, f := range r.feeds {
		if f.final || f.has {
			continue
		}
		if now.Sub(f.checked) < checkEvery {
			pending = true
			continue
		}
		f.checked = now
		run, err := loadRun(f.run.dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			f.run.State, f.final = Lost, true // dropped, or removed
		case err == nil:
			f.run, f.final = run, run.State != Live
		}
	}
	return pending
}

// addRuns begins with the runs that are new.
func (r *reader) addRuns(now time.Time, w *watcher) error {
	if r.query.Next == nil {
		return nil
	}
	runs, err := r.query.Next()
	if err != nil {
		return err
	}
	for _, run := range runs {
		if r.known[run.dir] {
			continue
		}
		r.known[run.dir] = true
		w.add(run.dir)
		r.feeds = append(r.feeds, &feed{
			cursor:  cursor{run: run, final: run.State != Live, complete: true},
			checked: now,
		})
	}
	w.addStore(r.store)
	return nil
}

// A watcher wakes a reader when files change. It is a convenience: without it
// the reader looks each second.
type watcher struct {
	notify *fsnotify.Watcher // nil if the system has none left
	logger *slog.Logger
	runs   map[string]bool // watched folders of runs
	looked time.Time
	soon   time.Time // look for runs often until then
}

func (r *reader) watch() *watcher {
	w := &watcher{logger: r.query.Logger, runs: map[string]bool{}}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		w.complain(err)
		return w
	}
	w.notify = notify
	for _, f := range r.feeds {
		w.add(f.run.dir)
	}
	w.addStore(r.store)
	return w
}

func (w *watcher) complain(err error) {
	if w.logger != nil {
		w.logger.Warn("the system does not tell of new lines; looking each second", "err", err)
		w.logger = nil
	}
}

// add watches the folder of a run.
func (w *watcher) add(dir string) {
	if w.notify == nil || w.runs[dir] {
		return
	}
	w.runs[dir] = true
	if err := w.notify.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.complain(err)
	}
}

// addStore watches the folders in which new runs appear.
func (w *watcher) addStore(s *Store) {
	if w.notify == nil {
		return
	}
	dirs := []string{s.dir}
	if apps, err := s.Apps(); err == nil {
		for _, app := range apps {
			dir := s.appDir(app.Namespace, app.Name)
			dirs = append(dirs, dir, filepath.Dir(dir))
		}
	}
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil && !w.runs[dir] {
			if err := w.notify.Add(dir); err != nil {
				w.complain(err)
			}
		}
	}
}

// lookForRuns reports whether it is time to look for new runs.
func (w *watcher) lookForRuns(now time.Time) bool {
	if now.Before(w.soon) || now.Sub(w.looked) >= pollEvery {
		w.looked = now
		return true
	}
	return false
}

// wait returns when something may have changed, or ctx's cause. pending means
// that somebody is to be asked again soon.
func (w *watcher) wait(ctx context.Context, pending bool) error {
	pause := pollEvery
	if pending {
		pause = checkEvery
	}
	if time.Now().Before(w.soon) {
		pause = soonEvery
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	var events chan fsnotify.Event
	var failures chan error
	if w.notify != nil {
		events, failures = w.notify.Events, w.notify.Errors
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	case failed := <-failures:
		if failed != nil { // events were lost: a run may be new
			w.soon = time.Now().Add(soonFor)
		}
	case e := <-events:
		w.noted(e)
		w.drain(events)
	}
	return nil
}

// drain takes the events that are waiting, so that many of them wake once.
func (w *watcher) drain(events chan fsnotify.Event) {
	for range maxEvents {
		select {
		case e := <-events:
			w.noted(e)
		default:
			return
		}
	}
}

// noted remembers what an event is about: a line, or perhaps a new run.
func (w *watcher) noted(e fsnotify.Event) {
	if !w.runs[filepath.Dir(e.Name)] && e.Has(fsnotify.Create) {
		w.soon = time.Now().Add(soonFor)
	}
}

func (w *watcher) close() {
	if w.notify != nil {
		_ = w.notify.Close() // nothing was written to it
	}
}
