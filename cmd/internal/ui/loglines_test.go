package ui

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/muesli/termenv"
	"pgregory.net/rapid"

	"github.com/pillion-dev/pillion/internal/escape"
)

var lunch = time.Date(2026, 11, 22, 14, 2, 11, 310_000_000, time.Local)

func lunchNow() time.Time { return lunch.Add(time.Hour) }

// show shows rows and returns what was written.
func show(t *testing.T, p *Printer, out interface{ String() string }, o LogOptions, rows ...LogRow) string {
	t.Helper()
	o.Now = lunchNow
	v := NewLogView(p, o, nil)
	v.last = lunch
	for _, r := range rows {
		if r.Time.IsZero() {
			r.Time = lunch
		}
		if err := v.Row(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func logRow(who, text string) LogRow { return LogRow{Who: who, Text: []byte(text)} }

func TestMergedRowsFoldBesideTheGutter(t *testing.T) {
	t.Parallel()
	p, out := screen(t, 40)
	got := show(t, p, out, LogOptions{Names: true},
		logRow("notification-service", "WARNING:  mail relay slow: 2.1s for smtp://relay.internal:25 (3 of 5)"),
		logRow("worker", "\tat \x1b[2Kmain"),
		LogRow{Who: "worker", Ours: true, Text: []byte("ended, exit 1")},
		logRow("worker", "https://a-word-that-is-longer.than/one/row"),
		logRow("worker", ""))
	want := `notif…vice │ WARNING:  mail relay slow:
           │ 2.1s for
           │ smtp://relay.internal:25 (3
           │ of 5)
worker     │         at main
worker     │ pillion: ended, exit 1
worker     │ https://a-word-that-is-long
           │ er.than/one/row
worker     │
`
	if got != want {
		t.Errorf("merged:\n%swant\n%s", got, want)
	}
}

func TestBelowFortyColumnsTheNameStandsAlone(t *testing.T) {
	t.Parallel()
	p, out := screen(t, 20)
	got := show(t, p, out, LogOptions{Names: true, Times: true}, logRow("notification-service", "a few words that fold"))
	want := "14:02:11.310 notification-service\n│ a few words that\n│ fold\n"
	if got != want {
		t.Errorf("at 20 columns:\n%swant\n%s", got, want)
	}
}

func TestAPipeGetsWholeRowsWithoutCodes(t *testing.T) {
	t.Parallel()
	p, out := pipe(t)
	got := show(t, p, out, LogOptions{Names: true},
		logRow("notification-service", "\x1b[31m"+strings.Repeat("long ", 40)+"\x1b]0;title\x07end\x1b[0m"),
		logRow("worker", "10%\r50%\r100%"),
		LogRow{Who: "worker", Ours: true, Warning: true, Text: []byte("3 lines not kept")})
	want := "notification-service | " + strings.Repeat("long ", 40) + "end\nworker | 100%\nworker | pillion: warning: 3 lines not kept\n"
	if got != want {
		t.Errorf("in a pipe:\n%swant\n%s", got, want)
	}
}

func TestAnAppCannotPaintItsNeighbours(t *testing.T) {
	t.Parallel()
	p, out := screen(t, 30)
	p.renderer.SetColorProfile(termenv.ANSI)
	got := show(t, p, out, LogOptions{},
		logRow("api", "\x1b[31mred and never closed"), logRow("api", "plain"), logRow("api", "\x1b[1mbold\x1b[0m"))
	want := "\x1b[31mred and never closed\x1b[m\nplain\n\x1b[1mbold\x1b[0m\n"
	if got != want {
		t.Errorf("rows are %q, want %q", got, want)
	}
	p, out = screen(t, 40)
	p.renderer.SetColorProfile(termenv.ANSI)
	got = show(t, p, out, LogOptions{Names: true}, logRow("api", "\x1b[31mred, folded over two rows of the terminal"))
	for one := range strings.SplitSeq(strings.TrimSuffix(got, "\n"), "\n") {
		_, text, _ := strings.Cut(one, "│")
		if !strings.Contains(text, "\x1b[31m") || !strings.HasSuffix(text, "\x1b[m") {
			t.Errorf("row %q does not open and close the colour", one)
		}
	}
}

func TestHalfALineIsGoneOnWith(t *testing.T) {
	t.Parallel()
	p, out := screen(t, 80)
	got := show(t, p, out, LogOptions{},
		LogRow{Who: "api", Text: []byte("Name? "), Continues: true}, LogRow{Who: "api", Text: []byte("Ada"), Continued: true},
		LogRow{Who: "api", Text: []byte("working"), Continues: true}, logRow("api", "something else"))
	if want := "Name? Ada\nworking\nsomething else\n"; got != want {
		t.Errorf("rows are %q, want %q", got, want)
	}
}

func TestRulesTellTheTimeAfterASilence(t *testing.T) {
	t.Parallel()
	p, out := screen(t, 40)
	at := func(d time.Duration, text string) LogRow {
		return LogRow{Who: "api", Time: lunch.Add(d), Text: []byte(text)}
	}
	got := show(t, p, out, LogOptions{}, at(0, "one"), at(time.Minute, "two"), at(3*time.Minute, "three"))
	want := "one\ntwo\n── today 14:05:11 ──────────────────────\nthree\n"
	if got != want {
		t.Errorf("rows are\n%swant\n%s", got, want)
	}
}

func TestNoLogRowIsWiderThanTheTerminal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		width := rapid.IntRange(12, 100).Draw(rt, "width")
		text := rapid.StringOfN(rapid.RuneFrom([]rune("abc  \t日本é✓-/")), 0, 200, -1).Draw(rt, "text")
		rows := foldLog(text, width)
		var shown strings.Builder
		for _, r := range rows {
			if n := Cells(strings.TrimRight(r, " ")); n > width {
				rt.Errorf("row %q has %d columns, want at most %d", r, n, width)
			}
			shown.WriteString(r)
		}
		keep := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if keep(shown.String()) != keep(text) {
			rt.Errorf("foldLog(%q, %d) = %q: letters are missing", text, width, rows)
		}
	})
}

func FuzzLogRow(f *testing.F) {
	f.Add("plain", 40)
	f.Add("\x1b[31mred \x1b[0;1m日本\ttab\r\n", 20)
	f.Fuzz(func(t *testing.T, text string, width int) {
		if width < 1 || width > 500 {
			t.Skip()
		}
		coloured := closed(string(escape.Colours([]byte(text))))
		rows := foldLog(coloured, width)
		for _, r := range rows {
			if utf8.ValidString(text) && strings.ContainsAny(strings.ReplaceAll(r, "\x1b[", ""), "\x1b\n\r\x00") {
				t.Errorf("row %q of %q holds a control character", r, text)
			}
		}
	})
}
