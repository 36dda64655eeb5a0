package ui

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// proseWidth is the widest prose gets: wide terminals get more columns of
// facts, not longer lines.
const proseWidth = 100

// narrow is where hanging indents shrink to two.
const narrow = 48

// Prose is the width prose folds at.
func (t *Theme) Prose() int { return min(t.Width, proseWidth) }

// Cells is how many columns s takes; escape codes take none.
func Cells(s string) int { return ansi.StringWidth(s) }

// Pad fills s with blanks to n columns.
func Pad(s string, n int) string {
	if w := Cells(s); w < n {
		return s + strings.Repeat(" ", n-w)
	}
	return s
}

// PadLeft fills s with blanks in front to n columns.
func PadLeft(s string, n int) string {
	if w := Cells(s); w < n {
		return strings.Repeat(" ", n-w) + s
	}
	return s
}

// CutEnd is s in at most n columns, its end left out if need be.
func (t *Theme) CutEnd(s string, n int) string {
	if n < 1 || Cells(s) <= n {
		return s
	}
	sign := t.Cut()
	if n <= Cells(sign) {
		return ansi.Truncate(s, n, "")
	}
	return ansi.Truncate(s, n, sign)
}

// CutMiddle is s in at most n columns, its middle left out if need be.
func (t *Theme) CutMiddle(s string, n int) string {
	if n < 1 || Cells(s) <= n {
		return s
	}
	keep := n - Cells(t.Cut())
	if keep < 2 {
		return t.CutEnd(s, n)
	}
	tail := keep / 2
	end := ansi.TruncateLeft(s, Cells(s)-tail, "")
	return ansi.Truncate(s, keep-tail, "") + t.Cut() + end
}

// fold lays words out in rows: the first row has first columns, the others
// have rest. Only blanks between words are broken: a word that is too long
// stands alone and whole. Where even the first one does not fit behind a label
// but does below it, the first row is empty.
func fold(words []string, first, rest int) []string {
	var rows []string
	var row strings.Builder
	used, room := 0, first
	for _, word := range words {
		w := Cells(word)
		if used > 0 && used+1+w > room || used == 0 && w > room && len(rows) == 0 && room < rest {
			rows = append(rows, row.String())
			row.Reset()
			used, room = 0, rest
		}
		if used > 0 {
			row.WriteByte(' ')
			used++
		}
		row.WriteString(word)
		used += w
	}
	if used > 0 || len(rows) == 0 {
		rows = append(rows, row.String())
	}
	return rows
}

// words splits text at blanks, but keeps unit, if it occurs and fits into room
// columns, as one word: a command moves to the next row whole.
func words(text, unit string, room int) []string {
	before, after, found := strings.Cut(text, unit)
	if unit == "" || !found || Cells(unit) > room {
		return strings.Fields(text)
	}
	out := strings.Fields(before)
	tail := strings.Fields(after)
	// What touches the unit, such as a comma, stays with it.
	if len(tail) > 0 && !strings.HasPrefix(after, " ") {
		unit, tail = unit+tail[0], tail[1:]
	}
	if len(out) > 0 && !strings.HasSuffix(before, " ") {
		unit, out = out[len(out)-1]+unit, out[:len(out)-1]
	}
	return append(append(out, unit), tail...)
}

// Printable is text from elsewhere with its control characters written out, so
// that it can neither move the cursor nor forge a line.
func Printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) && utf8.ValidString(s) {
		return s
	}
	const hex = "0123456789abcdef"
	var out strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\t':
			out.WriteString(`\t`)
		case r == utf8.RuneError && n == 1, !plain(r):
			for i := range n {
				out.WriteString(`\x`)
				out.WriteByte(hex[s[i]>>4])
				out.WriteByte(hex[s[i]&15])
			}
		default:
			out.WriteString(s[:n])
		}
		s = s[n:]
	}
	return out.String()
}

// plain reports whether r can be printed as it is. Characters that change the
// direction of what follows cannot.
func plain(r rune) bool {
	return r == ' ' || r == '\u00a0' || unicode.IsPrint(r)
}

// Fold lays text out in rows of width columns. Only blanks are broken.
func (t *Theme) Fold(text string, width int) []string {
	return t.FoldFrom(text, width, 0, 0)
}

// FoldFrom is Fold for text that stands behind a label: the first row begins
// at column first, the others at column rest. In a pipe nothing is folded.
func (t *Theme) FoldFrom(text string, width, first, rest int) []string {
	text = t.Text(text)
	if !t.TTY {
		return []string{text}
	}
	return fold(strings.Fields(text), max(1, width-first), max(1, width-rest))
}
