package ui

import (
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/charmbracelet/lipgloss"
	"github.com/creack/pty"
)

func TestThemeDressesByStreamAndEnvironment(t *testing.T) {
	t.Parallel()
	utf8 := map[string]string{"TERM": "xterm-256color", "LANG": "en_US.UTF-8"}
	with := func(more ...string) map[string]string {
		out := map[string]string{}
		maps.Copy(out, utf8)
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	for name, c := range map[string]struct {
		terminal              bool
		env                   map[string]string
		color                 string
		tty, live, drawn, hue bool
	}{
		"terminal":              {true, with(), "auto", true, true, true, true},
		"pipe":                  {false, with(), "auto", false, false, false, false},
		"NO_COLOR":              {true, with("NO_COLOR", "1"), "auto", true, true, true, false},
		"NO_COLOR and always":   {true, with("NO_COLOR", "1"), "always", true, true, true, true},
		"never":                 {true, with(), "never", true, true, true, false},
		"always in a pipe":      {false, with(), "always", true, false, true, true},
		"dumb, truecolor":       {true, with("TERM", "dumb", "COLORTERM", "truecolor"), "auto", true, false, false, false},
		"CI":                    {true, with("CI", "true"), "auto", true, false, true, true},
		"the Linux console":     {true, with("TERM", "linux"), "auto", true, true, false, true},
		"LANG=C":                {true, with("LANG", "C"), "auto", true, true, false, true},
		"LC_ALL beats LANG":     {true, with("LC_ALL", "C"), "auto", true, true, false, true},
		"no locale at all":      {true, map[string]string{"TERM": "xterm"}, "auto", true, true, false, true},
		"NO_COLOR empty is not": {true, with("NO_COLOR", ""), "auto", true, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var theme *Theme
			if c.terminal {
				theme = newTheme(terminal(t, 80), env(c.env), c.color)
			} else {
				theme = newTheme(&strings.Builder{}, env(c.env), c.color)
			}
			painted := theme.Paint(ToneBad, "x") != "x"
			got := []bool{theme.TTY, theme.Live, theme.Unicode, painted}
			want := []bool{c.tty, c.live, c.drawn, c.hue}
			for i, what := range []string{"TTY", "Live", "Unicode", "coloured"} {
				if got[i] != want[i] {
					t.Errorf("%s is %v, want %v", what, got[i], want[i])
				}
			}
		})
	}
}

func TestThemeTakesTheStreamsOwnWidth(t *testing.T) {
	t.Parallel()
	for _, width := range []int{20, 40, 160} {
		if got := NewTheme(terminal(t, width), env(nil)).Width; got != width {
			t.Errorf("width %d, want %d", got, width)
		}
	}
	if got := NewTheme(terminal(t, 0), env(nil)).Width; got != 80 {
		t.Errorf("a terminal that does not say is %d wide, want 80", got)
	}
}

// Only the colours of the terminal's own sixteen that can be read everywhere
// are used: not 4, 7, 8, 10, 11, 14 or 15, and no background.
func TestThemeUsesReadableColours(t *testing.T) {
	t.Parallel()
	theme := newTheme(terminal(t, 80), env(map[string]string{"TERM": "xterm"}), "auto")
	for tone, want := range map[Tone]string{
		ToneStrong: "\x1b[1mx\x1b[0m",
		ToneMuted:  "\x1b[2mx\x1b[0m",
		ToneOK:     "\x1b[32mx\x1b[0m",
		ToneWarn:   "\x1b[33mx\x1b[0m",
		ToneBad:    "\x1b[1;91mx\x1b[0m",
		ToneType:   "\x1b[36mx\x1b[0m",
		TonePlain:  "x",
	} {
		if got := theme.Paint(tone, "x"); got != want {
			t.Errorf("tone %d is %q, want %q", tone, got, want)
		}
	}
}

func TestHuesKeepAnAppsColourAndDoNotRepeat(t *testing.T) {
	t.Parallel()
	theme := newTheme(terminal(t, 80), env(map[string]string{"TERM": "xterm-256color"}), "auto")
	apps := []string{"todo-api", "notification-service", "worker", "billing-service", "gateway", "mail"}
	hues := theme.Hues(apps)
	seen := map[lipgloss.TerminalColor]string{}
	for app, style := range hues {
		if other, taken := seen[style.GetForeground()]; taken {
			t.Errorf("%s and %s have the same hue", app, other)
		}
		seen[style.GetForeground()] = app
	}
	more := theme.MoreHues(hues, append(apps, "newcomer"))
	for _, app := range apps {
		if more[app].GetForeground() != hues[app].GetForeground() {
			t.Errorf("%s changed its hue when a newcomer came", app)
		}
	}
	if _, ok := more["newcomer"]; !ok {
		t.Error("the newcomer has no hue")
	}
}

// terminal is the user's side of a pseudo-terminal.
func terminal(t *testing.T, width int) *os.File {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	t.Cleanup(func() {
		_ = slave.Close()
		_ = master.Close()
	})
	if err := pty.Setsize(master, &pty.Winsize{Cols: uint16(width), Rows: 24}); err != nil {
		t.Fatal(err)
	}
	return slave
}
