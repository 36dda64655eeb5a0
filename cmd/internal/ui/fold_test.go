package ui

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFoldBreaksAtBlanksOnlyAndLosesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOf(rapid.StringMatching(`[a-zé·–-]{1,12}`)).Draw(t, "words")
		first, rest := rapid.IntRange(1, 60).Draw(t, "first"), rapid.IntRange(1, 60).Draw(t, "rest")
		rows := fold(in, first, rest)
		if got := strings.Fields(strings.Join(rows, " ")); strings.Join(got, " ") != strings.Join(in, " ") {
			t.Fatalf("fold(%q) = %q", in, rows)
		}
		for i, row := range rows {
			room := rest
			if i == 0 {
				room = first
			}
			if Cells(row) > room && strings.Contains(row, " ") {
				t.Errorf("row %q is wider than %d", row, room)
			}
		}
	})
}

func TestACommandMovesToTheNextRowWhole(t *testing.T) {
	t.Parallel()
	rows := fold(words("to see why it ended: pillion logs x --run -1, please", "pillion logs x --run -1", 30), 30, 30)
	want := []string{"to see why it ended:", "pillion logs x --run -1,", "please"}
	if strings.Join(rows, "|") != strings.Join(want, "|") {
		t.Errorf("folded to %q, want %q", rows, want)
	}
}

func TestCutsMarkWhatTheyLeaveOut(t *testing.T) {
	t.Parallel()
	p, _ := screen(t, 80)
	for _, c := range []struct{ got, want string }{
		{p.CutEnd("uvicorn main:app --port 1", 18), "uvicorn main:app …"},
		{p.CutEnd("short", 18), "short"},
		{p.CutMiddle("notification-service", 11), "notif…rvice"},
		{p.CutMiddle("/home/ada/shop/notify", 9), "/hom…tify"},
	} {
		if c.got != c.want {
			t.Errorf("cut to %q, want %q", c.got, c.want)
		}
	}
	p.Unicode = false
	if got := p.CutEnd("uvicorn main:app", 10); got != "uvicorn..." {
		t.Errorf("in ASCII %q", got)
	}
}

// Text from a peer can neither move the cursor nor forge a line of ours.
func TestPrintableWritesControlCharactersOut(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain – text":          "plain – text",
		"a\x1b[2Jb":             `a\x1b[2Jb`,
		"a\npillion: error: b":  `a\npillion: error: b`,
		"tab\there\r":           `tab\there\x0d`,
		"bad \xff byte":         `bad \xff byte`,
		"right\u202eto left":    `right\xe2\x80\xaeto left`,
		"c1 \u009b control":     `c1 \xc2\x9b control`,
		"no\u00a0break and 日本語": "no\u00a0break and 日本語",
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b]0;title\x07b")
	f.Add("\xc2")
	f.Fuzz(func(t *testing.T, s string) {
		out := Printable(s)
		for _, r := range out {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
				t.Fatalf("Printable(%q) = %q keeps %U", s, out, r)
			}
		}
		if Printable(out) != out {
			t.Errorf("Printable(%q) is not printable itself", s)
		}
	})
}
