package escape

import (
	"bytes"
	"testing"
)

func TestWhatIsLeftOfARow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, given, plain, colours string }{
		{"text", "hello\tworld", "hello\tworld", "hello\tworld"},
		{"utf-8", "grüße ✓ 日本", "grüße ✓ 日本", "grüße ✓ 日本"},
		{"not utf-8", "a\xff\xfeb", "a\xff\xfeb", "a\xff\xfeb"},
		{"colour", "\x1b[1;31merror\x1b[0m: x", "error: x", "\x1b[1;31merror\x1b[0m: x"},
		{"colour with colons", "\x1b[38:2:1:2:3mx", "x", "\x1b[38:2:1:2:3mx"},
		{"key reports are no colour", "\x1b[>4;1mx", "x", "x"},
		{"cursor and clearing", "a\x1b[2K\x1b[1Gb\x1b[?25lc", "abc", "abc"},
		{"title", "\x1b]0;evil\x07x\x1b]2;evil\x1b\\y", "xy", "xy"},
		{"title without an end", "x\x1b]0;evil", "x", "x"},
		{"title cut by another sequence", "\x1b]0;evil\x1b[31mx", "x", "\x1b[31mx"},
		{"charset", "\x1b(0x\x1b)Bz", "xz", "xz"},
		{"full reset", "\x1bcx", "x", "x"},
		{"cut sequences", "x\x1b[31", "x", "x"},
		{"escape alone", "x\x1b", "x", "x"},
		{"bell and backspace", "a\x07\x08\x00b\x7f", "ab", "ab"},
		{"c1", "a\u009b31mb\u0085", "a31mb", "a31mb"},
		{"bar", "10%\r50%\r100%", "100%", "100%"},
		{"trailing return", "done\r", "done", "done"},
		{"bar with colours", "\x1b[32m10%\r\x1b[1m100%", "100%", "\x1b[32m\x1b[1m100%"},
	} {
		if got := string(Plain([]byte(tt.given))); got != tt.plain {
			t.Errorf("%s: Plain(%q) = %q, want %q", tt.name, tt.given, got, tt.plain)
		}
		if got := string(Colours([]byte(tt.given))); got != tt.colours {
			t.Errorf("%s: Colours(%q) = %q, want %q", tt.name, tt.given, got, tt.colours)
		}
	}
}

func TestTextDropsSequencesOnly(t *testing.T) {
	t.Parallel()
	if got, want := string(Text([]byte("a\x1b[31mb\rc\x00\x1b]0;t\x07d"))), "ab\rc\x00d"; got != want {
		t.Errorf("Text = %q, want %q", got, want)
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range []string{"a\x1b[31mb", "\x1b]0;t\x07", "\r\n", "\x1b\x1b[", "\u009b1m", "\xc2"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		given := bytes.Clone(b)
		plain, colours := Plain(b), Colours(b)
		if !bytes.Equal(b, given) {
			t.Fatalf("Plain or Colours changed its argument %q", given)
		}
		for i, c := range plain {
			if c < 0x20 && c != '\t' || c == 0x7f {
				t.Fatalf("Plain(%q) = %q: control character at %d", b, plain, i)
			}
		}
		if again := Plain(plain); !bytes.Equal(again, plain) {
			t.Errorf("Plain(Plain(%q)) = %q, want %q", b, again, plain)
		}
		for rest := colours; len(rest) > 0; {
			n, k := next(rest)
			if k != text && k != colour {
				t.Fatalf("Colours(%q) = %q: holds %q", b, colours, rest[:n])
			}
			rest = rest[n:]
		}
		if bytes.IndexByte(Text(b), 0x1b) >= 0 {
			t.Errorf("Text(%q) = %q: holds an escape", b, Text(b))
		}
	})
}
