package ui

import (
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/escape"
)

// A line of ours that a log keeps has a terminal's signs: a mark in front and
// ` · ` between its facts. Here is what becomes of them elsewhere.

// warningWord begins a warning that a log keeps.
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
	warning, warns := strings.CutPrefix(text, warningWord)
	if !warns && !r.Warning {
		return said.ours(mark, strings.Split(text, factSep), nil)
	}
	warning, hint, _ := strings.Cut(warning, "; hint: ")
	warning, cause, _ := strings.Cut(warning, "; cause: ")
	block := said.block(strings.TrimSpace(warningWord), ToneWarn, &apperr.Error{What: Plainly(warning), Cause: cause, Hint: hint})
	return strings.Split(strings.TrimSuffix(block, "\n"), "\n")
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
