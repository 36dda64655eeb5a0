// Package logs keeps what apps say, and what pillion says of them: capture,
// keep, follow, search. Keeping never slows the app: what the disk cannot take
// in time is dropped, counted, and said where it is missing.
//
// A store is a folder with one folder a run, <namespace>/<app>/<number>:
//
//	lock        locked for as long as somebody writes the run
//	run.json    who ran, since when, and how it ended
//	000001.log  the lines, in segments; the oldest go when the run is too long
//	000001.idx  where which time begins in the segment
//
// A line is RFC 3339 with microseconds in UTC, a letter for the stream, and
// what was written, so that plain grep works. A capital letter means that the
// line goes on in the stream's next one.
package logs

import (
	"time"
)

// A Stream is where a line was written: its letter in the files.
type Stream byte

// The streams.
const (
	Stdout  Stream = 'o'
	Stderr  Stream = 'e'
	TTY     Stream = 't' // both outputs were one terminal
	Pillion Stream = 'p' // pillion's own lines about the app
	Gap     Stream = 'g' // says what is missing here
)

// streams are all streams, in the order of their numbers.
var streams = []Stream{Stdout, Stderr, TTY, Pillion, Gap}

// number is s's place in streams, or -1.
func (s Stream) number() int {
	for i, known := range streams {
		if s == known {
			return i
		}
	}
	return -1
}

// String is the stream's name in JSON.
func (s Stream) String() string {
	switch s {
	case Stdout:
		return "stdout"
	case Stderr:
		return "stderr"
	case TTY:
		return "tty"
	case Pillion:
		return "pillion"
	case Gap:
		return "gap"
	}
	return "unknown"
}

// Info is who a run belongs to.
type Info struct {
	App       string
	Namespace string // empty: default
	Instance  string
	// Command is the app's command line, Folder where it runs.
	Command []string
	Folder  string
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Limits bound a store. Zero fields have defaults.
type Limits struct {
	// Run is how many bytes one run may take; its oldest segments go first.
	// Default 64 MiB.
	Run int64
	// Total is how many bytes all runs may take together. Whoever begins a run
	// drops the oldest that have ended. Default 1 GiB.
	Total int64
	// Runs is how many runs of one app are kept. Default 100.
	Runs int
	// Segment is the size of a segment. Default 8 MiB, at most a quarter of
	// Run.
	Segment int64
	// Queue is how many bytes may wait for the disk. Default 4 MiB.
	Queue int
}

func (l Limits) withDefaults() Limits {
	if l.Run <= 0 {
		l.Run = 64 << 20
	}
	if l.Total <= 0 {
		l.Total = 1 << 30
	}
	if l.Runs <= 0 {
		l.Runs = 100
	}
	if l.Segment <= 0 {
		l.Segment = 8 << 20
	}
	l.Segment = max(1, min(l.Segment, l.Run/4))
	if l.Queue <= 0 {
		l.Queue = 4 << 20
	}
	return l
}

// A State is what is known of a run's end.
type State uint8

// The states of a run.
const (
	Live  State = iota // somebody writes it
	Ended              // it says how it ended
	Lost               // its writer is gone and said nothing: killed, or the machine
)

// An App is an app that has runs in the store.
type App struct {
	Namespace, Name string
}

// A RunInfo is a run as the store has it.
type RunInfo struct {
	App       string    `json:"app"`
	Namespace string    `json:"namespace"`
	Instance  string    `json:"instance,omitempty"`
	Run       int       `json:"run"`
	Command   []string  `json:"command,omitempty"`
	Folder    string    `json:"folder,omitempty"`
	Start     time.Time `json:"start"`
	// End is zero for a live run; for a lost one it is when the last line was
	// kept. Exit is how the app ended, in words such as "exit 1"; it may be
	// empty.
	End  time.Time `json:"end,omitzero"`
	Exit string    `json:"exit,omitempty"`
	// LostLines is how many lines could not be kept.
	LostLines int64 `json:"lostLines,omitempty"`
	State     State `json:"-"`

	dir string
}

// Same reports whether both are the same run of the same store.
func (r RunInfo) Same(other RunInfo) bool { return r.dir == other.dir }

// A Line is one line of a run.
type Line struct {
	Time      time.Time
	App       string
	Namespace string
	Instance  string
	Run       int
	Stream    Stream
	// Text is what was written, without its newline. It is valid until the
	// function it was given to returns.
	Text []byte
	// Continues means that the text goes on in the stream's next Line: it is
	// too long, or had no newline yet. That one is Continued.
	Continues, Continued bool
}
