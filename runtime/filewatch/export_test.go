package filewatch

import (
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

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
