package ui

import (
	"io"
	"os"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// prefix begins our own lines.
const prefix = "pillion: "

// labelWidth is the room a label of an error's rows takes: cause and two blanks.
const labelWidth = 7

// A Printer writes to one stream in its dress. Each message is one Write, so
// that messages of several goroutines do not mix.
type Printer struct {
	*Theme
	w io.Writer
}

// NewPrinter dresses w, which need not be the process's own stream.
func NewPrinter(w io.Writer, getenv func(string) string) *Printer {
	return &Printer{Theme: NewTheme(w, getenv), w: w}
}

// Through is p with everything going through w first, as w's own dress is p's.
func (p *Printer) Through(w io.Writer) *Printer { return &Printer{Theme: p.Theme, w: w} }

// File is the stream as a file, or nil if it is none.
func (p *Printer) File() *os.File {
	f, _ := p.w.(*os.File)
	return f
}

// Terminal reports whether the stream is a terminal. TTY can be true without:
// colours may be asked for in a pipe.
func (p *Printer) Terminal() bool { return isTerminal(p.w) }

// Write passes b on as it is.
func (p *Printer) Write(b []byte) (int, error) { return p.w.Write(b) }

// Print writes text as it is. A stream that cannot be written to is nobody's
// to tell.
func (p *Printer) Print(text string) {
	if text != "" {
		_, _ = io.WriteString(p.w, text)
	}
}

// Line writes text and ends the row.
func (p *Printer) Line(text string) { p.Print(text + "\n") }

// Paragraph writes text folded at blanks.
func (p *Printer) Paragraph(text string) {
	if !p.TTY {
		p.Line(p.Text(text))
		return
	}
	p.Line(strings.Join(fold(strings.Fields(p.Text(text)), p.Prose(), p.Prose()), "\n"))
}

// Tip writes a sentence with a command in it, which moves to the next row whole.
func (p *Printer) Tip(before, command string) {
	if !p.TTY {
		p.Line(p.Text(before + " " + command))
		return
	}
	text := strings.Join(fold(words(before+" "+command, command, p.Prose()), p.Prose(), p.Prose()), "\n")
	p.Line(strings.Replace(text, command, p.Type.Render(command), 1))
}

// Say writes one `pillion:` line: facts in a fixed order, joined by ` · `. On
// a terminal the line folds between facts; in a pipe it is one row with commas
// and without the mark.
func (p *Printer) Say(mark Mark, facts ...string) { p.SayMore(mark, facts, nil) }

// SayMore is Say with more facts, which begin a row of their own where one row
// does not take all.
func (p *Printer) SayMore(mark Mark, facts, more []string) {
	none := func(f string) bool { return f == "" }
	facts = slices.DeleteFunc(slices.Clone(facts), none)
	more = slices.DeleteFunc(slices.Clone(more), none)
	if !p.TTY {
		p.Print(prefix + p.Text(strings.Join(append(facts, more...), ", ")) + "\n")
		return
	}
	p.Print(strings.Join(p.ours(mark, facts, more), "\n") + "\n")
}

// ours are the rows of a `pillion:` line on a terminal.
func (t *Theme) ours(mark Mark, facts, more []string) []string {
	if mark != NoMark && len(facts) > 0 {
		facts = slices.Clone(facts)
		facts[0] = t.Mark(mark) + " " + facts[0]
	}
	rows := t.foldFacts(facts, more, len(prefix))
	rows[0] = t.Muted.Render(strings.TrimSpace(prefix)) + " " + rows[0]
	rows[0] = strings.TrimRight(rows[0], " ") // a first fact that did not fit behind the prefix
	return rows
}

// foldFacts joins facts, and begins a new row where the next one does not fit,
// or with more where not all fit into one. The first row already holds indent
// columns.
func (t *Theme) foldFacts(facts, more []string, indent int) []string {
	hang := t.hang(indent)
	sep := Cells(t.Sep())
	all := slices.Concat(facts, more)
	total := indent - sep
	for i, fact := range all {
		all[i] = t.Text(fact)
		total += sep + Cells(all[i])
	}
	row, used := "", indent
	var rows []string
	for i, fact := range all {
		apart := i == len(facts) && total > t.Width
		switch {
		case i == 0:
		case !apart && used+sep+Cells(fact) <= t.Width:
			row += t.Muted.Render(t.Sep())
			used += sep
		default:
			rows, row, used = append(rows, row), strings.Repeat(" ", hang), hang
		}
		words := fold(strings.Fields(fact), max(1, t.Width-used), max(1, t.Width-hang))
		for at, part := range words {
			if at > 0 {
				rows, row, used = append(rows, row), strings.Repeat(" ", hang), hang
			}
			row += part
			used += Cells(part)
		}
	}
	return append(rows, row)
}

// hang is an indent, or two columns where there is no room for it.
func (t *Theme) hang(indent int) int {
	if t.Width < narrow {
		return 2
	}
	return indent
}

// Note writes a sentence behind a mark, folded under itself: what is worth saying
// below a table.
func (p *Printer) Note(mark Mark, text string) {
	sign := p.Mark(mark) + " "
	indent := Cells(sign)
	for i, row := range p.FoldFrom(p.Text(text), p.Prose(), indent, indent) {
		if i > 0 {
			sign = strings.Repeat(" ", indent)
		}
		p.Line(sign + row)
	}
}

// Warn says that we coped, and what to do about it.
func (p *Printer) Warn(e *apperr.Error) {
	told := *e
	told.Reason = "" // no call failed, so there is no hop to tell
	p.Print(p.block("warning:", ToneWarn, &told))
}

// Fail says that something could not be done. It is the last thing printed.
func (p *Printer) Fail(e *apperr.Error) {
	p.Print(p.block("error:", ToneBad, e))
}

// Hint writes the row of a hint alone, for an answer of the app's that we can
// say something about.
func (p *Printer) Hint(text string, run ...string) {
	e := &apperr.Error{Hint: text, Run: run}
	if p.TTY {
		p.Print(p.terminalRow("hint", p.Text(e.Hint), p.Text(strings.Join(run, " "))))
		return
	}
	p.Print(prefix + "hint: " + p.Text(Printable(text)) + "\n")
}

// Cause writes the row of a cause alone, as Hint does.
func (p *Printer) Cause(text string) {
	if p.TTY {
		p.Print(p.terminalRow("cause", p.Text(Printable(text)), ""))
		return
	}
	p.Print(prefix + "cause: " + p.Text(Printable(text)) + "\n")
}

// Quote writes lines that are somebody else's, each behind a bar.
func (p *Printer) Quote(lines []string) {
	var out strings.Builder
	for _, line := range lines {
		line = p.Text(Printable(line))
		if p.TTY {
			out.WriteString(strings.Repeat(" ", p.hang(len(prefix))) + p.Muted.Render(p.Text("│")) + " " + line + "\n")
		} else {
			out.WriteString(prefix + "| " + line + "\n")
		}
	}
	p.Print(out.String())
}

// block is an error or a warning with its rows.
func (t *Theme) block(word string, tone Tone, e *apperr.Error) string {
	if !t.TTY {
		return t.pipeBlock(word, e)
	}
	text := t.Text(Printable(e.What))
	hang := t.hang(len(prefix))
	lead := t.Muted.Render(strings.TrimSpace(prefix)) + " " + t.Paint(tone, word) + " "
	rows := fold(strings.Fields(text), max(1, t.Prose()-Cells(lead)), max(1, t.Prose()-hang))
	var out strings.Builder
	out.WriteString(strings.TrimSuffix(lead+rows[0], " "))
	for _, row := range rows[1:] {
		out.WriteString("\n" + strings.Repeat(" ", hang) + row)
	}
	out.WriteString("\n")
	if hops := t.hops(e); hops != "" {
		out.WriteString(t.terminalRow("hop", hops, ""))
	}
	if e.Cause != "" {
		out.WriteString(t.terminalRow("cause", t.Text(Printable(e.Cause)), ""))
	}
	if e.Hint != "" {
		out.WriteString(t.terminalRow("hint", t.Text(Printable(e.Hint)), t.Text(strings.Join(e.Run, " "))))
	}
	return out.String()
}

// terminalRow is a labelled row under an error, folded under its own text. The
// command in it, if any, is coloured.
func (t *Theme) terminalRow(label, text, command string) string {
	indent := t.hang(len(prefix))
	under := indent + labelWidth
	if t.Width < narrow {
		under = indent + 2
	}
	room := max(1, t.Prose()-under)
	rows := fold(words(text, command, room), max(1, t.Prose()-indent-labelWidth), room)
	out := strings.Repeat(" ", indent) + t.Muted.Render(label)
	if rows[0] != "" {
		out += strings.Repeat(" ", labelWidth-len(label)) + rows[0]
	}
	for _, row := range rows[1:] {
		out += "\n" + strings.Repeat(" ", under) + row
	}
	if command != "" {
		out = strings.Replace(out, command, t.Paint(ToneType, command), 1)
	}
	return out + "\n"
}

// pipeBlock is an error with one record a row.
func (t *Theme) pipeBlock(word string, e *apperr.Error) string {
	var out strings.Builder
	row := func(label, text string) {
		if text != "" {
			out.WriteString(prefix + label + " " + t.Text(Printable(text)) + "\n")
		}
	}
	row(word, e.What)
	if isCall(e.Reason) {
		row("hop:", hopName(e.At()))
	}
	row("cause:", e.Cause)
	row("hint:", e.Hint)
	return out.String()
}

// hops are the hops a failed call passed, then the one it failed at.
func (t *Theme) hops(e *apperr.Error) string {
	if !isCall(e.Reason) {
		return ""
	}
	var out []string
	for _, hop := range apperr.Hops {
		if hop == e.At() {
			out = append(out, t.Paint(ToneStrong, hopName(hop))+" "+t.Mark(MarkFailed))
			break
		}
		if hop != apperr.HopCaller {
			out = append(out, hopName(hop)+" "+t.Mark(MarkOK))
		}
	}
	return strings.Join(out, t.Muted.Render(t.Text(" → ")))
}

func hopName(h apperr.Hop) string {
	if h == apperr.HopTLS {
		return "TLS"
	}
	return string(h)
}

// notCalls are the reasons of commands, which have no hop.
var notCalls = []apperr.Reason{
	"", apperr.Internal, apperr.Usage, apperr.NoSuchApp, apperr.Cancelled, apperr.OwnConfig,
	apperr.PortTaken, apperr.CommandNotFound, apperr.NotExecutable,
	apperr.TargetMissing, apperr.TargetInvalid, apperr.MethodRefused,
}

// isCall reports whether errors of this reason are failed calls, which have a
// hop.
func isCall(r apperr.Reason) bool { return !slices.Contains(notCalls, r) }
