package ui

import (
	"slices"
	"strings"
)

// A Shrink says how a column may lose width.
type Shrink uint8

// How a column may lose width. The key is never cut.
const (
	Whole Shrink = iota
	AtEnd
	InMiddle
)

// minText is the width the last text column shrinks to before columns leave.
const minText = 16

// A Column is one column of a Table.
type Column struct {
	Head   string
	Right  bool // quantities
	Shrink Shrink
	// Leave is the order in which columns leave where there is no room: 1
	// first. 0 stays.
	Leave int
}

// A Cell is one value with its tone. Text is ours or made printable.
type Cell struct {
	Text string
	Tone Tone
}

// A Table is rows of cells under heads, the key in the first column.
type Table struct {
	Columns []Column
	Rows    [][]Cell
	NoHead  bool
}

// Table writes t for a terminal: as many columns as fit, in order of interest.
func (p *Printer) Table(t Table) {
	shown := t.fit(p.Theme)
	if len(shown) == 0 {
		p.Print(t.stacked(p.Theme))
		return
	}
	widths := t.widths(p.Theme, shown)
	var out strings.Builder
	if !t.NoHead {
		heads := make([]Cell, len(t.Columns))
		for i, c := range t.Columns {
			heads[i] = Cell{c.Head, ToneMuted}
		}
		out.WriteString(t.row(p.Theme, heads, shown, widths))
	}
	for _, row := range t.Rows {
		out.WriteString(t.row(p.Theme, row, shown, widths))
	}
	p.Print(out.String())
}

// Records writes rows for a pipe: no heads, tabs, whole values. Tabs and line
// ends inside values are written out.
func (p *Printer) Records(rows [][]string) {
	var out strings.Builder
	for _, row := range rows {
		for i, value := range row {
			if i > 0 {
				out.WriteByte('\t')
			}
			out.WriteString(Printable(value))
		}
		out.WriteByte('\n')
	}
	p.Print(out.String())
}

// fit returns the indexes of the columns that fit, or none if not even those
// that must stay do.
func (t Table) fit(theme *Theme) []int {
	shown := make([]int, len(t.Columns))
	for i := range shown {
		shown[i] = i
	}
	for {
		if t.need(theme, shown) <= theme.Width {
			return shown
		}
		next := -1
		for at, i := range shown {
			if leave := t.Columns[i].Leave; leave > 0 && (next < 0 || leave < t.Columns[shown[next]].Leave) {
				next = at
			}
		}
		if next < 0 {
			return nil
		}
		shown = append(shown[:next:next], shown[next+1:]...)
	}
}

// need is the least width of the columns shown.
func (t Table) need(theme *Theme, shown []int) int {
	total := 2 * (len(shown) - 1)
	for _, i := range shown {
		w := t.natural(theme, i)
		if t.Columns[i].Shrink != Whole && i == t.lastText(shown) {
			w = min(w, minText)
		}
		total += w
	}
	return total
}

// widths are the widths of the columns shown; the last text column takes what
// the others leave.
func (t Table) widths(theme *Theme, shown []int) []int {
	out := make([]int, len(shown))
	text, total := -1, 2*(len(shown)-1)
	for at, i := range shown {
		out[at] = t.natural(theme, i)
		total += out[at]
		if t.Columns[i].Shrink != Whole && i == t.lastText(shown) {
			text = at
		}
	}
	if over := total - theme.Width; over > 0 && text >= 0 {
		out[text] = max(out[text]-over, min(out[text], minText))
	}
	return out
}

func (t Table) lastText(shown []int) int {
	last := -1
	for _, i := range shown {
		if t.Columns[i].Shrink != Whole {
			last = i
		}
	}
	return last
}

func (t Table) natural(theme *Theme, i int) int {
	w := 0
	if !t.NoHead {
		w = Cells(t.Columns[i].Head)
	}
	for _, row := range t.Rows {
		w = max(w, Cells(t.value(theme, row, i)))
	}
	return w
}

func (t Table) value(theme *Theme, row []Cell, i int) string {
	if i >= len(row) || row[i].Text == "" {
		return theme.None()
	}
	return theme.Text(row[i].Text)
}

func (t Table) row(theme *Theme, row []Cell, shown, widths []int) string {
	var out strings.Builder
	for at, i := range shown {
		text := t.value(theme, row, i)
		switch t.Columns[i].Shrink {
		case AtEnd:
			text = theme.CutEnd(text, widths[at])
		case InMiddle:
			text = theme.CutMiddle(text, widths[at])
		case Whole:
		}
		blanks := strings.Repeat(" ", max(0, widths[at]-Cells(text)))
		painted := theme.Paint(tone(row, i), text)
		if t.Columns[i].Right {
			painted = blanks + painted
		} else if at < len(shown)-1 {
			painted += blanks
		}
		if at > 0 {
			out.WriteString("  ")
		}
		out.WriteString(painted)
	}
	return strings.TrimRight(out.String(), " ") + "\n"
}

func tone(row []Cell, i int) Tone {
	if i < len(row) {
		return row[i].Tone
	}
	return TonePlain
}

// stacked is the form for a stream narrower than the columns that must stay:
// the key on a row of its own, the rest below it.
func (t Table) stacked(theme *Theme) string {
	var out strings.Builder
	for _, row := range t.Rows {
		out.WriteString(theme.Paint(tone(row, 0), t.value(theme, row, 0)) + "\n")
		below := stack{theme: theme}
		for i := 1; i < len(t.Columns); i++ {
			if leave := t.Columns[i].Leave; leave > 0 && leave < t.mostWanted() {
				continue
			}
			below.add(tone(row, i), t.value(theme, row, i))
		}
		out.WriteString(below.out.String() + "\n")
	}
	return out.String()
}

// A stack is the indented rows below a key, filled from the left.
type stack struct {
	theme *Theme
	out   strings.Builder
	used  int // cells of the present row; 0 before it has begun
}

func (s *stack) add(tone Tone, text string) {
	if s.used > 0 && s.used+1+Cells(text) > s.theme.Width {
		s.out.WriteByte('\n')
		s.used = 0
	}
	between := " "
	if s.used == 0 {
		between = "  "
	}
	s.out.WriteString(between)
	s.used += len(between)
	for at, part := range fold(strings.Fields(text), s.theme.Width-s.used, max(1, s.theme.Width-2)) {
		if at > 0 {
			s.out.WriteString("\n  ")
			s.used = 2
		}
		s.out.WriteString(s.theme.Paint(tone, part))
		s.used += Cells(part)
	}
}

// mostWanted is the first of the two columns that would leave last.
func (t Table) mostWanted() int {
	last := 0
	for _, c := range t.Columns {
		last = max(last, c.Leave)
	}
	return last - 1
}

// Insert puts a column at position at, with a cell for each row.
func (t *Table) Insert(at int, c Column, cell func(row int) Cell) {
	t.Columns = slices.Insert(t.Columns, at, c)
	for i := range t.Rows {
		t.Rows[i] = slices.Insert(t.Rows[i], at, cell(i))
	}
}
