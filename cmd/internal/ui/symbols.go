package ui

import "strings"

// A Mark is the sign in front of a row. In a pipe it is a word.
type Mark uint8

// The marks. Each has a symbol one column wide without an emoji form, an ASCII
// form, and a word.
const (
	NoMark Mark = iota
	MarkOK
	MarkFailed
	MarkWarning
	MarkSkipped // not tried, or kept as it was
	MarkRestarts
)

var marks = map[Mark]struct{ drawn, ascii, word string }{
	MarkOK:       {"✓", "+", "ok"},
	MarkFailed:   {"✗", "x", "failed"},
	MarkWarning:  {"!", "!", "warning"},
	MarkSkipped:  {"-", "-", "skipped"},
	MarkRestarts: {"↻", "~", "restarting"},
}

// Mark is m on this stream: a coloured symbol on a terminal, a word in a pipe,
// empty for NoMark.
func (t *Theme) Mark(m Mark) string {
	s := marks[m]
	switch {
	case m == NoMark:
		return ""
	case !t.TTY:
		return s.word
	case t.Unicode:
		return t.Paint(m.tone(), s.drawn)
	}
	return t.Paint(m.tone(), s.ascii)
}

func (m Mark) tone() Tone {
	switch m {
	case MarkOK:
		return ToneOK
	case MarkFailed:
		return ToneBad
	case MarkWarning:
		return ToneWarn
	case NoMark, MarkSkipped, MarkRestarts:
	}
	return ToneMuted
}

// A Tone is what a word means, as colour repeats it.
type Tone uint8

// The tones.
const (
	TonePlain Tone = iota
	ToneStrong
	ToneMuted
	ToneOK
	ToneWarn
	ToneBad
	ToneType
)

// Paint dresses s, which must be ours and without line breaks.
func (t *Theme) Paint(tone Tone, s string) string {
	if s == "" {
		return s
	}
	switch tone {
	case ToneStrong:
		return t.Strong.Render(s)
	case ToneMuted:
		return t.Muted.Render(s)
	case ToneOK:
		return t.OK.Render(s)
	case ToneWarn:
		return t.Warn.Render(s)
	case ToneBad:
		return t.Bad.Render(s)
	case ToneType:
		return t.Type.Render(s)
	case TonePlain:
	}
	return s
}

// StatusTone is the tone of a status word of `list`.
func StatusTone(status string) Tone {
	switch status {
	case "ready":
		return ToneOK
	case "starting", "restarting", "holding", "unhealthy", "draining", "parked":
		return ToneWarn
	case "failed":
		return ToneBad
	}
	return TonePlain
}

// ascii are the signs we draw, for streams that take none.
var ascii = strings.NewReplacer(
	" · ", ", ", "·", ",", "→", "->", "│", "|", "…", "...", "–", "-",
	"─", "-", "━", "=", "├", "|", "└", "`", "µ", "u", "✓", "+", "✗", "x", "↻", "~",
)

// Text is s with our drawn signs replaced where the stream takes none.
func (t *Theme) Text(s string) string {
	if t.Unicode {
		return s
	}
	return ascii.Replace(s)
}

// Sep separates facts.
func (t *Theme) Sep() string {
	if t.Unicode {
		return " · "
	}
	return ", "
}

// Cut marks what was left out.
func (t *Theme) Cut() string { return t.Text("…") }

// None stands for a missing value: a dash on a terminal, nothing in a pipe.
func (t *Theme) None() string {
	if !t.TTY {
		return ""
	}
	return t.Text("–")
}
