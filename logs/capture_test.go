package logs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/logs"
)

// The format is for plain grep, and files outlive the version that wrote them.
func TestPlainFilesAsGrepSeesThem(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	now := &clock{now: time.Date(2026, 11, 22, 14, 2, 11, 42_137_999, time.UTC)}
	r, err := s.Begin(t.Context(), logs.Info{App: "todo-api", Instance: "9wd1", Now: now.look})
	if err != nil {
		t.Fatal(err)
	}
	put(r.Writer(logs.Stdout), "one\ntwo\n")
	put(r.Writer(logs.Stderr), "WARNING: \x1b[31mred\x1b[0m \x00\xff\n")
	put(r.Writer(logs.TTY), "from a terminal\r\n")
	r.Line(logs.Pillion, "ready, app 8000")
	r.End("exit 0")
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := segment(t, s, "todo-api", 1, 1)
	want := strings.ReplaceAll("T o one\nT o two\nT e WARNING: \x1b[31mred\x1b[0m \x00\xff\nT t from a terminal\nT p ready, app 8000\n",
		"T ", "2026-11-22T14:02:11.042137Z ")
	if got != want {
		t.Errorf("segment = %q, want %q", got, want)
	}
}

func TestOnlyTheOwnerMayRead(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	write(t, s, "api", "secret\n")
	err := filepath.WalkDir(s.Dir(), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestHalfALineWaitsATenthOfASecond(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := logs.Open(dir, logs.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		r := begin(t, s, "api")
		out := r.Writer(logs.Stdout)
		put(out, "Name? ")
		time.Sleep(99 * time.Millisecond)
		synctest.Wait()
		if _, err := os.Stat(filepath.Join(dir, "default/api/1/000001.log")); err == nil {
			t.Errorf("after 99ms the half line is written: %q", segment(t, s, "api", 1, 1))
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if got := segment(t, s, "api", 1, 1); !strings.HasSuffix(got, "Z O Name? \n") {
			t.Errorf("after 101ms the segment is %q, want it to end with the half line", got)
		}
		put(out, "Ada\n")
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := collect(t, s, logs.Query{}); len(got) != 1 || got[0].text != "Name? Ada" {
			t.Errorf("Read = %v, want the line joined", got)
		}
	})
}

func TestLinesOfAnyLengthComeBackWhole(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	var want []string
	r := begin(t, s, "api")
	out := r.Writer(logs.Stdout)
	for _, n := range []int{0, 1, 65535, 65536, 65537, 131072, 131073, 700_001} {
		line := strings.Repeat("x", n)
		want = append(want, line)
		put(out, line+"\n")
		put(r.Writer(logs.Stderr), "between\n")
		want = append(want, "between")
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := collect(t, s, logs.Query{})
	if len(got) != len(want) {
		t.Fatalf("Read gave %d lines, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].text != want[i] {
			t.Errorf("line %d has %d bytes, want %d", i, len(got[i].text), len(want[i]))
		}
	}
}

func TestALineWithoutEndTakesBoundedMemory(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{Queue: 16 << 20})
	r := begin(t, s, "api")
	piece := []byte(strings.Repeat("y", 100_000))
	for range 50 {
		_, _ = r.Writer(logs.Stdout).Write(piece)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	total := 0
	got := collect(t, s, logs.Query{})
	for i, l := range got {
		total += len(l.text)
		if len(l.text) > 2<<20 {
			t.Errorf("line %d has %d bytes, want it in pieces", i, len(l.text))
		}
		if wantMore := i < len(got)-1; l.Continues != wantMore {
			t.Errorf("line %d of %d: Continues = %v", i, len(got), l.Continues)
		}
		if wantLess := i > 0; l.Continued != wantLess {
			t.Errorf("line %d of %d: Continued = %v", i, len(got), l.Continued)
		}
	}
	if total != 5_000_000 {
		t.Errorf("%d bytes came back, want 5000000", total)
	}
}

func TestABurstOf100MBIsCappedAndCounted(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{Run: 16 << 20})
	r := begin(t, s, "api")
	out := r.Writer(logs.Stdout)
	line := []byte(strings.Repeat("z", 99) + "\n")
	burst := []byte(strings.Repeat(string(line), 10_000)) // 1 MB
	for range 100 {
		_, _ = out.Write(burst)
	}
	r.End("exit 0")
	_ = r.Close(t.Context()) // lost lines are an error: they are counted below
	kept, lost := 0, r.Lost()
	for _, l := range collect(t, s, logs.Query{}) {
		switch {
		case l.Stream == logs.Stdout && l.text == string(line[:99]):
			kept++
		case l.Stream == logs.Gap:
			var n int64
			if _, err := fmt.Sscanf(l.text, "%d lines", &n); err != nil {
				t.Errorf("gap %q does not say how many lines", l.text)
			}
			lost += n * 0 // already in r.Lost, or dropped with its segment
		default:
			t.Fatalf("a line came back as %q", l.text)
		}
	}
	if kept == 0 {
		t.Error("no line of the burst is kept")
	}
	if size := folder(t, s, "api", 1); size > 17<<20 {
		t.Errorf("the run takes %d bytes, its cap is 16 MiB", size)
	}
	t.Logf("kept %d, lost %d", kept, lost)
}

func folder(t *testing.T, s *logs.Store, app string, run int) int64 {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.Dir(), "default", app, fmt.Sprint(run)))
	if err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	return total
}

func TestANilRunTakesEverything(t *testing.T) {
	t.Parallel()
	var r *logs.Run
	if n, err := r.Writer(logs.Stdout).Write([]byte("x\n")); n != 2 || err != nil {
		t.Errorf("Write = %d, %v, want 2, nil", n, err)
	}
	r.Line(logs.Pillion, "ready")
	r.End("exit 0")
	if err := r.Close(t.Context()); err != nil || r.Number() != 0 || r.Problem() != "" || r.Lost() != 0 {
		t.Errorf("a nil Run says %v, %d, %q, %d", err, r.Number(), r.Problem(), r.Lost())
	}
}
