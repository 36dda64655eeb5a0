package ui

import (
	"hash/fnv"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/term"
	"github.com/muesli/termenv"
)

// What --color may say.
const (
	colorAuto   = "auto"
	colorAlways = "always"
	colorNever  = "never"
)

// defaultWidth is the width of a stream that does not say.
const defaultWidth = 80

// A Theme dresses one stream. There is one for Out and one for Err: either
// may be a terminal while the other is a file.
//
// It never asks the terminal anything: a question about the background waits
// five seconds where nobody answers, and swallows what is typed meanwhile.
type Theme struct {
	TTY     bool // decorate and fold
	Live    bool // rows may be rewritten in place
	Unicode bool // drawn symbols; otherwise ASCII
	Width   int  // in columns

	Strong, Muted, OK, Warn, Bad, Type lipgloss.Style

	renderer *lipgloss.Renderer
}

// NewTheme looks at w and the environment and decides how to dress w.
func NewTheme(w io.Writer, getenv func(string) string) *Theme {
	return newTheme(w, getenv, colorAuto)
}

func newTheme(w io.Writer, getenv func(string) string, color string) *Theme {
	t := &Theme{Width: defaultWidth, renderer: lipgloss.NewRenderer(w)}
	dumb := getenv("TERM") == "dumb"
	if isTerminal(w) {
		t.TTY, t.Live = true, !dumb && getenv("CI") == ""
		t.Width = terminalWidth(w, getenv)
	} else if color == colorAlways { // for `less -R`: the dress of a terminal, no rewriting
		t.TTY, t.Width = true, columns(getenv)
	}
	t.Unicode = t.TTY && !dumb && getenv("TERM") != "linux" && utf8Locale(getenv)
	t.renderer.SetColorProfile(profile(t.TTY, getenv, color))
	if t.TTY {
		enableColors(w)
	}
	t.Strong = t.style().Bold(true)
	t.Muted = t.style().Faint(true)
	t.OK = t.style().Foreground(lipgloss.Color("2"))
	t.Warn = t.style().Foreground(lipgloss.Color("3"))
	t.Bad = t.style().Foreground(lipgloss.Color("9")).Bold(true)
	t.Type = t.style().Foreground(lipgloss.Color("6"))
	return t
}

// style leaves the text alone: a bare one turns tabs into blanks and pads rows.
func (t *Theme) style() lipgloss.Style {
	return t.renderer.NewStyle().Inline(true).TabWidth(lipgloss.NoTabConversion)
}

// profile is how many colours the stream takes. It is decided here and not by
// termenv, which forgets a dumb terminal when COLORTERM is set.
func profile(tty bool, getenv func(string) string, color string) termenv.Profile {
	name := getenv("TERM")
	switch {
	case color == colorNever, !tty:
		return termenv.Ascii
	case color != colorAlways && (getenv("NO_COLOR") != "" || name == "dumb"):
		return termenv.Ascii
	case getenv("COLORTERM") == "truecolor", getenv("COLORTERM") == "24bit", getenv("WT_SESSION") != "":
		return termenv.TrueColor
	case strings.Contains(name, "256color"):
		return termenv.ANSI256
	}
	return termenv.ANSI
}

func utf8Locale(getenv func(string) string) bool {
	if getenv("WT_SESSION") != "" {
		return true
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}

func terminalWidth(w io.Writer, getenv func(string) string) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(f.Fd()); err == nil && n > 0 {
			return n
		}
	}
	return columns(getenv)
}

func columns(getenv func(string) string) int {
	if n, err := strconv.Atoi(getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return defaultWidth
}

// hues are readable on black and on white; the last is for the sixth app.
var hues = []lipgloss.CompleteColor{
	{TrueColor: "#0087ff", ANSI256: "33", ANSI: "12"},  // blue
	{TrueColor: "#af875f", ANSI256: "137"},             // tan
	{TrueColor: "#af5fd7", ANSI256: "134", ANSI: "13"}, // purple
	{TrueColor: "#008787", ANSI256: "30", ANSI: "6"},   // teal
	{TrueColor: "#d75faf", ANSI256: "169"},             // pink
	{TrueColor: "#5f8787", ANSI256: "66"},              // slate
}

// Hues gives each app its favourite hue if that is free, else the next free one.
func (t *Theme) Hues(apps []string) map[string]lipgloss.Style {
	return t.MoreHues(nil, apps)
}

// MoreHues keeps the hues in have and gives each newcomer among apps a free
// one, so that nobody changes colour while one looks.
func (t *Theme) MoreHues(have map[string]lipgloss.Style, apps []string) map[string]lipgloss.Style {
	out := make(map[string]lipgloss.Style, len(have)+len(apps))
	maps.Copy(out, have)
	taken := make([]int, len(hues))
	for _, style := range have {
		for i := range hues {
			if style.GetForeground() == hues[i] {
				taken[i]++
			}
		}
	}
	for _, app := range slices.Sorted(slices.Values(apps)) {
		if _, ok := out[app]; ok {
			continue
		}
		h := fnv.New32a()
		_, _ = io.WriteString(h, app) // a hash does not fail
		i := int(h.Sum32()>>1) % (len(hues) - 1)
		for taken[i] > len(out)/len(hues) {
			i = (i + 1) % len(hues)
		}
		taken[i]++
		out[app] = t.style().Foreground(hues[i])
	}
	return out
}
