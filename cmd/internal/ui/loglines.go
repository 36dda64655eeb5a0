package ui

import (
	"bufio"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"github.com/pillion-dev/pillion/internal/escape"
)

const (
	// ruleWidth is the widest a rule gets.
	ruleWidth = 80
	// silence is how long nothing was said that a rule tells the time.
	silence = time.Minute
	// stacked is the width below which a name stands on a row of its own.
	stacked = 40

	timeTerminal = "15:04:05.000"
	timePipe     = "2006-01-02T15:04:05.000Z"
)

// A LogRow is one line of the log of one app.
type LogRow struct {
	// Who is the name in front of the line, where there are several.
	Who  string
	Time time.Time
	// Ours means that the line is pillion's: a mark, if any, and facts with ` · `
	// between them. Warning means that it tells of a loss.
	Ours, Warning bool
	// Text may hold anything an app writes. It is not kept.
	Text []byte
	// Continues means that the line goes on in the next row that is Continued.
	Continues, Continued bool
}

// LogOptions say how rows are shown.
type LogOptions struct {
	Names bool // in front of each row
	Times bool // in front of each row
	// Quiet means that no rule tells the time.
	Quiet bool
	Now   func() time.Time
}

// A LogView shows rows of one app or of several, merged. What it writes it
// holds until Flush.
type LogView struct {
	theme *Theme
	opts  LogOptions
	out   *bufio.Writer
	hues  map[string]lipgloss.Style
	width int // of the names
	leads map[string]lead

	last  time.Time // of what is above
	open  string    // whose row has not ended
	shown bool
}

// NewLogView shows rows on p. Names are those that are known already; others
// may come.
func NewLogView(p *Printer, opts LogOptions, names []string) *LogView {
	v := &LogView{theme: p.Theme, opts: opts, out: bufio.NewWriterSize(p, 32<<10)}
	v.meet(names...)
	return v
}

// Flush writes what is held. Its error is the stream's.
func (v *LogView) Flush() error { return v.out.Flush() }

// Shown reports whether anything was.
func (v *LogView) Shown() bool { return v.shown }

// Last is when the last thing shown happened.
func (v *LogView) Last() time.Time { return v.last }

// meet gives newcomers a hue and room for their names.
func (v *LogView) meet(names ...string) {
	fresh := false
	for _, name := range names {
		if _, known := v.hues[name]; !known {
			fresh = true
		}
	}
	if !fresh {
		return
	}
	v.hues = v.theme.MoreHues(v.hues, names)
	v.measure()
}

// A lead is what stands in front of an app's rows: of the first one, and of
// those it is folded into.
type lead struct{ first, next string }

// lead dresses a name once: it stands in front of every row.
func (v *LogView) lead(who string) lead {
	if l, known := v.leads[who]; known {
		return l
	}
	hue, bar := v.hues[who], v.theme.Text("│")
	l := lead{
		first: hue.Render(Pad(v.theme.CutMiddle(who, v.width), v.width) + " " + bar),
		next:  strings.Repeat(" ", v.width+1) + hue.Render(bar),
	}
	if v.theme.Width < stacked {
		l = lead{hue.Render(bar), hue.Render(bar)}
	}
	v.leads[who] = l
	return l
}

// measure finds the room for the names.
func (v *LogView) measure() {
	v.leads = map[string]lead{}
	most := max(4, v.theme.Width/4)
	v.width = 0
	for name := range maps.Keys(v.hues) {
		v.width = max(v.width, min(most, Cells(name)))
	}
}

// resize takes another width. The theme must be the view's own.
func (v *LogView) resize(width int) {
	if width != v.theme.Width {
		v.theme.Width = width
		v.measure()
	}
}

// Row shows one row.
func (v *LogView) Row(r LogRow) error {
	if v.theme.TTY && !v.opts.Quiet {
		v.passTime(r.Time)
	}
	v.shown = true
	switch {
	case v.opts.Names && v.theme.TTY:
		return v.gutter(r)
	case v.opts.Names:
		return v.write(v.stamp(r.Time), r.Who, " | ", v.text(r), "\n")
	}
	return v.single(r)
}

// single shows a row of the only app. A row without an end is left open, as
// the app left it.
func (v *LogView) single(r LogRow) error {
	lead := v.stamp(r.Time)
	if r.whole() && v.theme.TTY {
		if v.open != "" {
			v.open, lead = "", "\n"+lead
		}
		indent := strings.Repeat(" ", Cells(v.stamp(r.Time)))
		return v.write(lead, strings.Join(v.ours(r, v.theme.Width-len(indent)), "\n"+indent), "\n")
	}
	switch {
	case v.open == "" || r.Continued && v.open == r.Who:
		if v.open != "" {
			lead = ""
		}
	default:
		lead = "\n" + lead
	}
	v.open = ""
	if r.Continues {
		v.open = r.Who
		return v.write(lead, v.text(r))
	}
	return v.write(lead, v.text(r), "\n")
}

// gutter shows a row beside its app's name.
func (v *LogView) gutter(r LogRow) error {
	v.meet(r.Who)
	stamp := v.stamp(r.Time)
	side := v.lead(r.Who)
	room := v.theme.Width - Cells(stamp) - v.width - gutterWidth
	if v.theme.Width < stacked {
		if err := v.write(stamp, v.hues[r.Who].Render(r.Who), "\n"); err != nil {
			return err
		}
		stamp, room = "", v.theme.Width-2
	}
	var rows []string
	if r.whole() {
		for _, row := range v.ours(r, room) {
			rows = append(rows, foldLog(row, max(1, room))...) // a word may be longer than a row
		}
	} else {
		rows = foldLog(v.text(r), max(1, room))
	}
	for i, row := range rows {
		front := stamp + side.first
		if i > 0 {
			front = strings.Repeat(" ", Cells(stamp)) + side.next
		}
		if row != "" {
			row = " " + row
		}
		if err := v.write(front, row, "\n"); err != nil {
			return err
		}
	}
	return nil
}

// text is what is shown of a row's text: its colours on a terminal that has
// some, closed at its end, and nothing else that is not text.
func (v *LogView) text(r LogRow) string {
	var text string
	if v.colours() {
		text = closed(string(escape.Colours(r.Text)))
	} else {
		text = string(escape.Plain(r.Text))
	}
	if !r.Ours || r.Continued {
		return text
	}
	if r.Warning {
		text = warningWord + text
	}
	return prefix + v.theme.Text(Plainly(text))
}

func (v *LogView) colours() bool {
	return v.theme.TTY && v.theme.renderer.ColorProfile() != termenv.Ascii
}

// closed ends the colours that s opened, so that an app that forgets to cannot
// paint its neighbours.
func closed(s string) string {
	if strings.Contains(s, "\x1b[") && !strings.HasSuffix(s, "\x1b[0m") && !strings.HasSuffix(s, resetColour) {
		return s + resetColour
	}
	return s
}

// stamp is the time in front of a row, if it is wanted.
func (v *LogView) stamp(at time.Time) string {
	switch {
	case !v.opts.Times:
		return ""
	case v.theme.TTY:
		return v.theme.Paint(ToneMuted, at.Local().Format(timeTerminal)) + " "
	}
	return at.UTC().Format(timePipe) + " "
}

// passTime shows a rule where a day began or nothing was said for a while.
func (v *LogView) passTime(at time.Time) {
	before := v.last
	if before.IsZero() || at.Sub(before) > silence || !dayOf(at.Local()).Equal(dayOf(before.Local())) && at.After(before) {
		_ = v.Rule(at, v.When(at)) // the next write has the same error
	}
	if at.After(v.last) {
		v.last = at
	}
}

// When is a moment for rules: today 14:02:11.
func (v *LogView) When(at time.Time) string {
	at, now := at.Local(), v.opts.Now().Local()
	switch clock := at.Format(time.TimeOnly); int(dayOf(at).Sub(dayOf(now)).Round(24*time.Hour) / (24 * time.Hour)) {
	case 0:
		return "today " + clock
	case -1:
		return "yesterday " + clock
	default:
		return at.Format(time.DateOnly) + " " + clock
	}
}

// Rule draws a rule with facts about the moment at, on a terminal. In a pipe
// there are none.
func (v *LogView) Rule(at time.Time, facts ...string) error {
	if !v.theme.TTY {
		return nil
	}
	v.shown = true
	if at.After(v.last) {
		v.last = at
	}
	end := ""
	if v.open != "" {
		v.open, end = "", "\n"
	}
	width := min(v.theme.Width, ruleWidth)
	dash := v.theme.Text("─")
	var kept []string
	for _, f := range facts {
		if f != "" {
			kept = append(kept, v.theme.Text(Printable(f)))
		}
	}
	text := v.theme.CutEnd(strings.Join(kept, v.theme.Sep()), max(1, width-5)) // and a dash behind it
	rule := strings.Repeat(dash, 2) + " " + text + " "
	rule += strings.Repeat(dash, max(0, width-Cells(rule)))
	return v.write(end, v.theme.Paint(ToneMuted, strings.TrimRight(rule, " ")), "\n")
}

func (v *LogView) write(parts ...string) error {
	for _, s := range parts {
		if _, err := v.out.WriteString(s); err != nil {
			return err
		}
	}
	return nil
}

// RunName is how rules name a run.
func RunName(n int) string { return "run " + strconv.Itoa(n) }

// Names is the sorted set of names.
func Names(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }
