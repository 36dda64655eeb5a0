package filewatch

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Quiet is how long nothing must happen before a change is told.
const Quiet = quiet

// Deaf makes w a watcher that the system tells nothing, because of err.
func (w *Watcher) Deaf(err error) {
	w.open = func() (*fsnotify.Watcher, error) { return nil, err }
	w.alone = 5 * time.Millisecond
}

// Rarely has w look at files beside events so rarely that no test lives to see
// it.
func (w *Watcher) Rarely() { w.beside = time.Hour }

// Before has do called each time before the system is asked for the events of a
// folder.
func (w *Watcher) Before(do func(folder string)) {
	w.add = func(events *fsnotify.Watcher, folder string) error {
		do(folder)
		return addFolder(events, folder)
	}
}

// Often has w look at files beside events all the time.
func (w *Watcher) Often() { w.beside = 5 * time.Millisecond }

// Full makes w a watcher that the system gives only so many folders.
func (w *Watcher) Full(folders int) {
	w.alone = 5 * time.Millisecond
	w.add = func(events *fsnotify.Watcher, folder string) error {
		if len(events.WatchList()) >= folders {
			return syscall.ENOSPC
		}
		return addFolder(events, folder)
	}
}

// Unasked has a test fail if w asks the system for events.
func (w *Watcher) Unasked(t testing.TB) {
	w.open = func() (*fsnotify.Watcher, error) {
		t.Error("it asks for events")
		return fsnotify.NewWatcher()
	}
}

// Forbid makes w a watcher that the system tells nothing of one folder.
func (w *Watcher) Forbid(folder string) {
	w.add = func(events *fsnotify.Watcher, f string) error {
		if f == folder {
			return syscall.EACCES
		}
		return addFolder(events, f)
	}
}

// NowAndThen has w look at files beside events while they are being written.
func (w *Watcher) NowAndThen() { w.beside = 150 * time.Millisecond }

// A busy thing is being written for as long as one may wait for it.
type busy struct {
	dir   string
	asked *atomic.Int64
}

func (b busy) folders() ([]string, int) {
	b.asked.Add(1)
	return []string{b.dir}, 0
}
func (b busy) concerns(string, fsnotify.Op) bool { return true }
func (b busy) differs() bool                     { return false }
func (b busy) tell(now bool) bool                { return now }

// Busy watches a folder in which somebody goes on writing, and says how often
// it was asked where that is.
func (w *Watcher) Busy(dir string) *atomic.Int64 {
	b := busy{dir: dir, asked: new(atomic.Int64)}
	w.attach(b)
	return b.asked
}

// Pause is how long w, without events, does not look after a look that took so
// long.
func (w *Watcher) Pause(took time.Duration) time.Duration {
	one := &watched{looked: time.Now(), cost: took}
	return (&running{w: w, deaf: true}).lookAt(one).Sub(one.looked)
}
