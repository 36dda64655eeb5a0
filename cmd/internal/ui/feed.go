package ui

import (
	"bytes"
	"slices"
	"time"
)

const (
	// halfLine is how long a line waits for its newline.
	halfLine = 100 * time.Millisecond
	// maxHeldLine is how much of a line is held before it is shown in parts.
	maxHeldLine = 16 << 10
	// lastLines is how many lines of an app are kept to be repeated, and
	// maxLastLine how much of each.
	lastLines   = 8
	maxLastLine = 500
	// outOfSight is how many rows later a line has left the screen.
	outOfSight = 20
)

// A Speaker is an app on a board.
type Speaker struct {
	board *Board
	name  string
	shown bool // its lines are

	last [][]byte // guarded by the board's lock, as is at
	at   int      // the board's row after its last one
}

// Speaker adds an app. Without shown its lines are kept for Last only.
func (b *Board) Speaker(name string, shown bool) *Speaker {
	return &Speaker{board: b, name: name, shown: shown}
}

// Last are the app's last lines, if nobody can see them: they were never shown,
// or other rows have taken their place.
func (s *Speaker) Last() [][]byte {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	if s.shown && s.board.rows-s.at < outOfSight {
		return nil
	}
	return slices.Clone(s.last)
}

// Repeat shows lines again, as the app's.
func (s *Speaker) Repeat(lines [][]byte) {
	rows := make([]LogRow, 0, len(lines))
	for _, line := range lines {
		rows = append(rows, LogRow{Who: s.name, Time: time.Now(), Text: line})
	}
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	if !s.board.closed {
		_ = s.board.show(false, rows) // the next row has the same error
	}
}

// Say shows a line of ours about the app.
func (s *Speaker) Say(text string) {
	_ = s.board.Row(false, LogRow{Who: s.name, Time: time.Now(), Ours: true, Text: []byte(text)}) // likewise
}

// Stream is where one output of the app is written. Each has one writer.
func (s *Speaker) Stream(out bool) *Feed { return &Feed{speaker: s, out: out} }

// A Feed is one output of an app: whole lines are shown at once, a half one
// after a moment.
type Feed struct {
	speaker *Speaker
	out     bool

	// Guarded by the board's lock:
	held      []byte // the beginning of a line
	continued bool   // its beginning was shown already
	timer     *time.Timer
}

// Write implements io.Writer. Its error is the stream's, so that an app whose
// reader has gone hears of it.
func (f *Feed) Write(p []byte) (int, error) {
	b := f.speaker.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return len(p), nil
	}
	f.held = append(f.held, p...)
	rows := f.cut()
	if err := f.show(rows); err != nil {
		return 0, err
	}
	if len(f.held) > 0 && f.timer == nil {
		f.timer = time.AfterFunc(halfLine, f.waited)
	}
	return len(p), nil
}

// cut takes the whole lines from what is held.
func (f *Feed) cut() []LogRow {
	var rows []LogRow
	rest := f.held
	for {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		if !ended && len(line) < maxHeldLine {
			break
		}
		if !ended {
			line, after = rest[:maxHeldLine], rest[maxHeldLine:]
		}
		rest = after
		if ended && f.continued && len(line) == 0 {
			f.continued = false // all of it was shown before its newline came
			continue
		}
		rows = append(rows, f.row(line, !ended))
	}
	if len(rest) < len(f.held) {
		f.held = append([]byte(nil), rest...) // rows still show what was there
	}
	return rows
}

func (f *Feed) row(text []byte, continues bool) LogRow {
	r := LogRow{
		Who: f.speaker.name, Time: time.Now(), Text: text,
		Continues: continues, Continued: f.continued,
	}
	f.continued = continues
	return r
}

// show shows rows and keeps the last ones.
func (f *Feed) show(rows []LogRow) error {
	if len(rows) == 0 {
		return nil
	}
	s := f.speaker
	for _, r := range rows[max(0, len(rows)-lastLines):] {
		s.last = append(s.last, bytes.Clone(r.Text[:min(len(r.Text), maxLastLine)]))
	}
	s.last = s.last[max(0, len(s.last)-lastLines):]
	if !s.shown {
		return nil
	}
	err := s.board.show(f.out, rows)
	s.at = s.board.rows
	return err
}

// waited shows a line that has no newline yet, but one that is being rewritten:
// of that the last state counts.
func (f *Feed) waited() {
	b := f.speaker.board
	b.mu.Lock()
	defer b.mu.Unlock()
	f.timer = nil
	if b.closed || len(f.held) == 0 || rewritten(f.held) {
		return
	}
	rows := []LogRow{f.row(f.held, true)}
	f.held = nil
	_ = f.show(rows) // the next write has the same error
}

// rewritten reports whether a row is drawn anew again and again, as progress
// bars are.
func rewritten(held []byte) bool {
	if bytes.IndexByte(held, '\r') >= 0 {
		return true
	}
	for rest := held; ; {
		at := bytes.Index(rest, []byte("\x1b["))
		if at < 0 {
			return false
		}
		rest = rest[at+2:]
		end := bytes.IndexFunc(rest, func(r rune) bool { return r >= 0x40 && r <= 0x7e })
		if end < 0 || rest[end] != 'm' {
			return true // it moves the cursor, or is cut off
		}
	}
}

// Flush shows what is left of a line whose app has ended.
func (f *Feed) Flush() {
	b := f.speaker.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	if b.closed || len(f.held) == 0 {
		return
	}
	rows := []LogRow{f.row(f.held, false)}
	f.held = nil
	_ = f.show(rows) // the next write has the same error
}
