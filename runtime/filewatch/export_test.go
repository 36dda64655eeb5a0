package filewatch

import (
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

// Often has w look at files beside events all the time.
func (w *Watcher) Often() { w.beside = 5 * time.Millisecond }
