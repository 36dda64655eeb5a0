package ui

import (
	"strings"

	"github.com/pillion-dev/pillion/internal/human"
)

// footerGap is between the apps of the bottom row.
const footerGap = "   "

// footer is the bottom row: the apps in their order, cut to the width. Where
// there is no room for all, those that are well are counted: it is the others
// one looks for.
func (t *Theme) footer(parts []FooterPart) string {
	room := t.Width - 1 // the last column may make a terminal begin a row
	row := t.joinFooter(parts)
	if Cells(row) <= room {
		return row
	}
	well := 0
	var others []FooterPart
	for _, p := range parts {
		if p.Mark == MarkOK && p.Word == "" {
			well++
		} else {
			others = append(others, p)
		}
	}
	if well > 0 {
		others = append([]FooterPart{{Mark: MarkOK, Name: human.Count(well, "app")}}, others...)
	}
	return t.CutEnd(t.joinFooter(others), room)
}

func (t *Theme) joinFooter(parts []FooterPart) string {
	out := make([]string, 0, len(parts))
	for _, p := range parts {
		text := t.Text(Printable(p.Name))
		if p.Mark != NoMark {
			text = t.Mark(p.Mark) + " " + text
		}
		if p.Word != "" {
			text += " " + t.Paint(p.Tone, t.Text(Printable(p.Word)))
		}
		out = append(out, text)
	}
	return strings.Join(out, footerGap)
}

// A footed writer keeps a row below everything that is written. Each write is
// one, the row with it, so that nothing flickers.
type footed struct {
	w   *Printer
	row func() string // nil: there is none

	drawn bool
	buf   []byte
}

// eraseRow goes to the row's beginning and clears it.
const eraseRow = "\r\x1b[K"

// Write takes the row away, writes p, and draws the row anew. The row waits
// while p ends within one.
func (f *footed) Write(p []byte) (int, error) {
	f.buf = f.buf[:0]
	if f.drawn {
		f.buf = append(f.buf, eraseRow...)
	}
	f.buf = append(f.buf, p...)
	f.drawn = false
	if f.row != nil && (len(p) == 0 || p[len(p)-1] == '\n') {
		if row := f.row(); row != "" {
			f.buf = append(f.buf, row...)
			f.drawn = true
		}
	}
	if len(f.buf) == 0 {
		return 0, nil
	}
	if _, err := f.w.Write(f.buf); err != nil {
		return 0, err
	}
	return len(p), nil
}

// erase takes the row away.
func (f *footed) erase() {
	if f.drawn {
		f.w.Print(eraseRow)
		f.drawn = false
	}
}
