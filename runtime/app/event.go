package app

import (
	"sync"

	"github.com/pillion-dev/pillion/discovery"
)

// An Event is something that a person or the rest of the sidecar should hear:
// StateChanged, Detected, WrongPort, Candidates, NoPort, Healthy or Unhealthy.
type Event interface{ event() }

// StateChanged says what State returns from now on.
type StateChanged struct{ State discovery.State }

// Detected says that the app's port was found.
type Detected struct {
	Port uint16
	// HTTP2 is true if the app speaks only HTTP/2 there.
	HTTP2 bool
}

// WrongPort says that the app's process listens, but not on the port that was
// given.
type WrongPort struct {
	Want    uint16
	Listens []uint16
}

// Candidates says that the app answers HTTP on several ports, so that none was
// chosen. Ports are in rising order.
type Candidates struct{ Ports []uint16 }

// NoPort says that the app opened no port that answers HTTP and counts as one
// that only calls others. Ignored are ports that it did open: debuggers' ones
// and those that do not answer.
type NoPort struct{ Ignored []uint16 }

func (StateChanged) event() {}
func (Detected) event()     {}
func (WrongPort) event()    {}
func (Candidates) event()   {}
func (NoPort) event()       {}

// maxEvents bounds the events that wait to be told. States are told as the
// latest only; of the others there are few.
const maxEvents = 64

// events are what Run has yet to tell, and the bell that wakes it.
type events struct {
	tell func(Event)
	bell chan struct{} // wakes the watcher
	note chan struct{} // wakes the teller

	mu      sync.Mutex // guards what follows
	waiting []Event
}

func newEvents(tell func(Event)) *events {
	return &events{tell: tell, bell: make(chan struct{}, 1), note: make(chan struct{}, 1)}
}

// wake makes the watcher look again at once.
func (e *events) wake() { ring(e.bell) }

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default: // it rings already
	}
}

func (e *events) add(event Event) {
	if e.tell == nil {
		return
	}
	e.mu.Lock()
	if n := len(e.waiting); n == maxEvents {
		e.waiting = append(e.waiting[:0], e.waiting[1:]...)
	}
	e.waiting = append(e.waiting, event)
	e.mu.Unlock()
	ring(e.note)
}

func (e *events) take() []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := e.waiting
	e.waiting = nil
	return taken
}

// run tells until done is closed, and then what is left.
func (e *events) run(done <-chan struct{}) {
	for ended := false; !ended; {
		select {
		case <-e.note:
		case <-done:
			ended = true
		}
		for _, event := range e.take() {
			e.tell(event)
		}
	}
}
