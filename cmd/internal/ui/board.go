package ui

import (
	"io"
	"slices"
	"sync"
	"time"
)

// A Board is where several apps speak at once: each line with its app's name in
// front, our own lines between them and, where rows can be rewritten, one row
// at the bottom that says how everybody is.
type Board struct {
	mu     sync.Mutex // guards what follows, and orders the writes
	sides  []*side    // one, or one for each stream
	names  []string
	closed bool
	rows   int // shown so far

	note    sync.Mutex // guards what follows
	parts   []FooterPart
	changed chan struct{} // rings when parts have; nil without a footer
	painter sync.WaitGroup
	stop    chan struct{}
}

// A side is one stream of a board.
type side struct {
	view    *LogView
	printer *Printer
	foot    *footed
}

// BoardOptions say what a board is drawn on.
type BoardOptions struct {
	// Out takes what apps write to their standard outputs, Err everything else.
	// Nil Out: Err takes both.
	Out, Err *Printer
	// Names are those of the apps.
	Names []string
	// Footer draws the bottom row, if Err is live and nobody else writes there.
	Footer bool
}

// NewBoard makes a board. Close ends it.
func NewBoard(o BoardOptions) *Board {
	b := &Board{names: o.Names, stop: make(chan struct{})}
	b.sides = []*side{newSide(o.Err, o.Names)}
	if o.Out != nil {
		b.sides = append(b.sides, newSide(o.Out, o.Names))
	}
	if o.Footer && o.Err.Live {
		b.changed = make(chan struct{}, 1)
		b.sides[0].foot.row = b.footer
		b.painter.Go(b.paint)
	}
	return b
}

// newSide gives a stream a view with a theme of its own: it follows the
// terminal's width.
func newSide(p *Printer, names []string) *side {
	foot := &footed{w: p}
	theme := *p.Theme
	printer := &Printer{Theme: &theme, w: foot}
	view := NewLogView(printer, LogOptions{Names: true, Quiet: true, Now: time.Now}, names)
	return &side{view: view, printer: printer, foot: foot}
}

// HasFooter reports whether a bottom row says how everybody is.
func (b *Board) HasFooter() bool { return b.changed != nil }

// Margin is how many columns of a terminal are not the apps'.
func (b *Board) Margin() int {
	v := b.sides[0].view
	if !v.theme.TTY || v.theme.Width < stacked {
		return 0
	}
	return v.width + gutterWidth
}

// gutterWidth is what a name's gutter takes beside the name.
const gutterWidth = 3

// sideOf is where a stream's lines go.
func (b *Board) sideOf(out bool) *side {
	if out {
		return b.sides[len(b.sides)-1]
	}
	return b.sides[0]
}

// Row shows a row; out: of a standard output. The error is the stream's.
func (b *Board) Row(out bool, r LogRow) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.show(out, []LogRow{r})
}

// show shows rows in one write. The lock is held.
func (b *Board) show(out bool, rows []LogRow) error {
	s := b.sideOf(out)
	s.follow()
	for _, r := range rows {
		b.rows++
		if err := s.view.Row(r); err != nil {
			return err
		}
	}
	return s.view.Flush()
}

// follow takes the terminal's width as it is now.
func (s *side) follow() {
	if f := s.foot.w.File(); f != nil && s.view.theme.Live {
		s.view.resize(terminalWidth(f, func(string) string { return "" }))
	}
}

// Say calls say with the printer of our own lines, which stand between those of
// the apps.
func (b *Board) Say(say func(p *Printer)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sides[0].follow()
	say(b.sides[0].printer)
}

// Line writes a line of its own on the stream of standard outputs.
func (b *Board) Line(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sideOf(true).printer.Line(text)
}

// Through makes everything go through w from now on, and takes the footer away:
// somebody else writes there, too.
func (b *Board) Through(w io.Writer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	foot := b.sides[0].foot
	foot.erase()
	foot.row = nil
	foot.w = foot.w.Through(w)
}

// Close shows what was held and takes the footer away. What is written later is
// dropped.
func (b *Board) Close() {
	close(b.stop)
	b.painter.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.sides[0].foot.erase()
	b.sides[0].foot.row = nil
}

// A FooterPart is one app of the bottom row.
type FooterPart struct {
	Mark Mark
	Name string
	// Word is how it is, where the mark does not say it all.
	Word string
	Tone Tone // of Word
}

// Footer changes the bottom row. It does not wait for the terminal.
func (b *Board) Footer(parts []FooterPart) {
	b.note.Lock()
	b.parts = slices.Clone(parts)
	b.note.Unlock()
	if b.changed == nil {
		return
	}
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// paint draws the bottom row when it has changed.
func (b *Board) paint() {
	for {
		select {
		case <-b.stop:
			return
		case <-b.changed:
		}
		b.mu.Lock()
		b.sides[0].follow()
		_, _ = b.sides[0].foot.Write(nil) // the next row has the same error
		b.mu.Unlock()
	}
}

// footer is the bottom row.
func (b *Board) footer() string {
	b.note.Lock()
	defer b.note.Unlock()
	return b.sides[0].view.theme.footer(b.parts)
}
