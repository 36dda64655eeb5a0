package logs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/pillion-dev/pillion/logs"
)

// Whatever bytes an app writes in whatever pieces: the lines come back.
func FuzzLines(f *testing.F) {
	f.Add([]byte("one\ntwo\n"), uint16(3))
	f.Add([]byte("no end"), uint16(1))
	f.Add([]byte("\n\n\r\n\x00\xff\n"), uint16(2))
	f.Add(bytes.Repeat([]byte("long"), 40_000), uint16(60_000))
	f.Fuzz(func(t *testing.T, text []byte, size uint16) {
		s, err := logs.Open(filepath.Join(t.TempDir(), "logs"), logs.Limits{Segment: 5000, Run: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Begin(t.Context(), logs.Info{App: "api"})
		if err != nil {
			t.Fatal(err)
		}
		out := r.Writer(logs.Stdout)
		for rest := text; len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			_, _ = out.Write(rest[:n])
			rest = rest[n:]
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var have []byte
		for _, l := range collect(t, s, logs.Query{}) {
			have = append(have, l.text...)
			if !l.Continues {
				have = append(have, '\n')
			}
		}
		expected := bytes.Clone(text)
		if len(expected) > 0 && expected[len(expected)-1] != '\n' {
			expected = append(expected, '\n')
		}
		if !bytes.Equal(have, expected) {
			t.Errorf("%q came back as %q", expected, have)
		}
	})
}

// Whatever is in the files: reading does not fail, and shows all text.
func FuzzSegment(f *testing.F) {
	f.Add([]byte("2026-11-22T14:02:11.042137Z o hello\n"), []byte("2026-11-22T14:02:11.042137Z 000000000000 000000000000\n"))
	f.Add([]byte("2026-11-22T14:02:11.042137Z O hel\nx\n"), []byte("2026-11-22T14:02:11.042137Z 000000000009 000000000007\n"))
	f.Add([]byte("2026-11-22T14:02:11.042137Z g gap"), []byte{})
	f.Fuzz(func(t *testing.T, segment, index []byte) {
		s, err := logs.Open(filepath.Join(t.TempDir(), "logs"), logs.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(s.Dir(), "default/api/1")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"run.json": []byte(`{"start":"2026-11-22T14:00:00Z"}`), "000001.log": segment, "000001.idx": index} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		whole := collect(t, s, logs.Query{})
		tail := collect(t, s, logs.Query{Tail: 3})
		if len(tail) > 3 || len(tail) > len(whole) {
			t.Errorf("tail 3 gave %d lines of %d", len(tail), len(whole))
		}
		if _, err := s.Count(all(t, s)[0]); err != nil {
			t.Error(err)
		}
	})
}
