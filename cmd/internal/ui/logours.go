package ui

import (
	"strings"

	"github.com/pillion-dev/pillion/internal/escape"
)

// A line of ours that a log keeps has a terminal's signs: a mark in front and
// ` · ` between its facts. Here is what becomes of them elsewhere.

// warningWord begins a warning that stands in a log.
const warningWord = "warning: "

// whole reports whether the row is a line of ours from its beginning to its
// end.
func (r LogRow) whole() bool { return r.Ours && !r.Continues && !r.Continued }

// ours are the rows of a line of ours on a terminal with room columns, as it
// was said when the app ran.
func (v *LogView) ours(r LogRow, room int) []string {
	mark, text := marked(string(escape.Plain(r.Text)))
	said := *v.theme
	said.Width = max(1, room)
	facts := strings.Split(text, factSep)
	rest, warns := strings.CutPrefix(facts[0], warningWord)
	if warns || r.Warning {
		facts[0] = v.theme.Paint(ToneWarn, strings.TrimSpace(warningWord)) + " " + rest
	}
	return said.ours(mark, facts, nil)
}

// factSep is between the facts of a line of ours that a log keeps.
const factSep = " · "

// marked takes the mark off a line of ours that a log keeps.
func marked(text string) (Mark, string) {
	for _, m := range []Mark{MarkOK, MarkFailed} {
		if rest, ok := strings.CutPrefix(text, marks[m].drawn+" "); ok {
			return m, rest
		}
	}
	return NoMark, text
}

// Plainly is a line of ours that a log keeps as a pipe shows it.
func Plainly(text string) string {
	_, text = marked(text)
	return strings.ReplaceAll(text, factSep, ", ")
}

// Shorter is a line of ours that a log keeps, without the app's name, for
// where it stands in front.
func Shorter(text, app string) string {
	mark, rest := marked(text)
	if mark != NoMark {
		text = rest
	}
	text = strings.TrimPrefix(strings.TrimPrefix(text, app+" "), "is ")
	if rest, ok := strings.CutPrefix(text, "stopping "+app); ok {
		text = "stopping" + rest
	}
	if mark != NoMark {
		text = marks[mark].drawn + " " + text
	}
	return text
}
