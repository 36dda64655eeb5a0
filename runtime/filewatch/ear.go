package filewatch

import (
	"sync"

	"github.com/fsnotify/fsnotify"
)

// maxHeard bounds the names of changed files that wait to be read; beyond it
// everything is looked at.
const maxHeard = 10_000

// An ear takes what the system tells off its hands at once: some systems cannot
// be asked for more while they wait for a listener.
type ear struct {
	events *fsnotify.Watcher
	ended  chan struct{}
	nudge  chan struct{} // there is something

	mu    sync.Mutex // guards what follows
	heard map[string]fsnotify.Op
	lost  error // why there was more
}

func listen(events *fsnotify.Watcher) *ear {
	e := &ear{events: events, ended: make(chan struct{}), nudge: make(chan struct{}, 1), heard: map[string]fsnotify.Op{}}
	go e.run()
	return e
}

// close ends the events, and the listening.
func (e *ear) close() {
	if e == nil {
		return
	}
	_ = e.events.Close() // nobody listens any more
	<-e.ended
}

// some gets a value when there is something to take.
func (e *ear) some() <-chan struct{} {
	if e == nil {
		return nil
	}
	return e.nudge
}

// take returns what was heard since it was last called, by name, and why that is
// not all; nil if it is.
func (e *ear) take() (heard map[string]fsnotify.Op, lost error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	heard, lost = e.heard, e.lost
	e.heard, e.lost = map[string]fsnotify.Op{}, nil
	return heard, lost
}

func (e *ear) run() {
	defer close(e.ended)
	for {
		select {
		case event, open := <-e.events.Events:
			if !open {
				return
			}
			e.note(event)
		case err, open := <-e.events.Errors:
			if !open {
				return
			}
			e.miss(err)
		}
		select {
		case e.nudge <- struct{}{}:
		default: // it will be taken anyway
		}
	}
}

func (e *ear) note(event fsnotify.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.heard[event.Name]; !known && len(e.heard) == maxHeard {
		e.lost = fsnotify.ErrEventOverflow
		return
	}
	e.heard[event.Name] |= event.Op
}

func (e *ear) miss(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost = err
}
