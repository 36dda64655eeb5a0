package ui

import (
	"bytes"
	"io"
	"regexp"
	"sync"
)

// maxHeld bounds the lines of ours that wait for a full-screen app to leave.
const maxHeld = 64 << 10

// A Stage is the terminal an app and pillion share: the app's bytes pass
// untouched, and our lines stand on rows of their own and wait while the app
// shows a full screen.
type Stage struct {
	w io.Writer

	mu     sync.Mutex // guards what follows and orders the writes to w
	midRow bool       // the last byte shown was not the end of a row
	full   bool       // the app is in the alternate screen
	tail   []byte     // the end of the last write, for a code split in two
	held   []byte     // our lines, until the app leaves its full screen
}

// NewStage makes a stage of w, which is a terminal.
func NewStage(w io.Writer) *Stage { return &Stage{w: w} }

// alternate matches the codes that enter or leave the alternate screen.
var alternate = regexp.MustCompile(`\x1b\[\?(?:1049|1047|47)([hl])`)

// maxCode is the longest code alternate matches.
const maxCode = len("\x1b[?1049h")

// App is where the app writes.
func (s *Stage) App() io.Writer { return writerFunc(s.app) }

// Ours is where our own whole lines are written.
func (s *Stage) Ours() io.Writer { return writerFunc(s.ours) }

// Echoed notes that the terminal showed something that is not in any write,
// such as ^C, so that our next line begins a new row.
func (s *Stage) Echoed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.midRow = true
}

// Close shows what was held back: the app has gone.
func (s *Stage) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = false
	return s.release()
}

func (s *Stage) app(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.w.Write(p)
	if n > 0 {
		s.note(p[:n])
		if err == nil && !s.full {
			err = s.release()
		}
	}
	return n, err
}

// note follows what the terminal shows.
func (s *Stage) note(p []byte) {
	s.midRow = p[len(p)-1] != '\n'
	seen := p
	if len(s.tail) > 0 {
		seen = append(s.tail, p...)
	}
	if bytes.IndexByte(seen, 0x1b) >= 0 {
		if all := alternate.FindAllSubmatch(seen, -1); len(all) > 0 {
			s.full = all[len(all)-1][1][0] == 'h'
		}
	}
	s.tail = append(s.tail[:0:0], seen[max(0, len(seen)-maxCode+1):]...)
	if esc := bytes.LastIndexByte(s.tail, 0x1b); esc >= 0 {
		s.tail = s.tail[esc:]
	} else {
		s.tail = nil
	}
}

func (s *Stage) ours(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		if len(s.held)+len(p) <= maxHeld {
			s.held = append(s.held, p...)
		}
		return len(p), nil
	}
	if err := s.show(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *Stage) release() error {
	if len(s.held) == 0 {
		return nil
	}
	held := s.held
	s.held = nil
	return s.show(held)
}

func (s *Stage) show(p []byte) error {
	if s.midRow && len(p) > 0 {
		p = append([]byte{'\n'}, p...)
	}
	s.midRow = false
	_, err := s.w.Write(p)
	return err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
