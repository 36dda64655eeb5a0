package logs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pillion-dev/pillion/logs"
)

// A got is a Line that may be kept.
type got struct {
	logs.Line
	text string
}

// collect reads all runs of all apps, or those of the query.
func collect(t *testing.T, s *logs.Store, q logs.Query) []got {
	t.Helper()
	if q.Runs == nil {
		q.Runs = all(t, s)
	}
	var lines []got
	err := s.Read(t.Context(), q, func(l logs.Line) error {
		lines = append(lines, got{l, string(l.Text)})
		return nil
	})
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return lines
}

func all(t *testing.T, s *logs.Store) []logs.RunInfo {
	t.Helper()
	apps, err := s.Apps()
	if err != nil {
		t.Fatal(err)
	}
	var runs []logs.RunInfo
	for _, app := range apps {
		some, err := s.Runs(app)
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, some...)
	}
	return runs
}

func texts(lines []got) []string {
	var all []string
	for _, l := range lines {
		all = append(all, l.text)
	}
	return all
}

func want(t *testing.T, what string, lines []got, texts_ ...string) {
	t.Helper()
	if have := texts(lines); !slices.Equal(have, texts_) {
		t.Errorf("%s = %q, want %q", what, have, texts_)
	}
}

func TestARunSaysWhoseItIsAndHowItEnded(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	write(t, s, "api", "one\n")
	run := all(t, s)[0]
	if run.State != logs.Ended || run.Exit != "exit 0" || run.App != "api" || run.Namespace != "default" ||
		run.Instance != "iapi" || run.Run != 1 || run.Folder != "/src/api" || strings.Join(run.Command, " ") != "go run ." ||
		run.Start.IsZero() || run.End.Before(run.Start) {
		t.Errorf("run = %+v", run)
	}
	lines := collect(t, s, logs.Query{})
	if len(lines) != 1 || lines[0].App != "api" || lines[0].Run != 1 || lines[0].Instance != "iapi" || lines[0].Stream != logs.Stdout {
		t.Errorf("lines = %+v", lines)
	}
}

func TestNothingEverRan(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	apps, err := s.Apps()
	if err != nil || len(apps) != 0 {
		t.Errorf("Apps = %v, %v, want none", apps, err)
	}
	if runs, err := s.Runs(logs.App{Namespace: "default", Name: "api"}); err != nil || len(runs) != 0 {
		t.Errorf("Runs = %v, %v, want none", runs, err)
	}
	if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading made %s", s.Dir())
	}
}

func TestTailIsTheLastLinesOfAllRunsTogether(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	write(t, s, "api", lines(0, 30_000)) // several marks
	write(t, s, "web", "w1\nw2\nw3\n")
	api := all(t, s)[:1]
	want(t, "tail 3", collect(t, s, logs.Query{Runs: api, Tail: 3}), "line 29997", "line 29998", "line 29999")
	want(t, "tail 2 of both", collect(t, s, logs.Query{Tail: 2}), "w2", "w3")
	want(t, "tail 4 of both", collect(t, s, logs.Query{Tail: 4}), "line 29999", "w1", "w2", "w3")
	for _, n := range []int{1, 29_999, 30_000, 30_001} {
		have := collect(t, s, logs.Query{Runs: api, Tail: n})
		if len(have) != min(n, 30_000) || have[len(have)-1].text != "line 29999" {
			t.Errorf("tail %d gave %d lines", n, len(have))
		}
	}
	want(t, "tail with grep", collect(t, s, logs.Query{Tail: 2, Grep: regexp.MustCompile(`line 1?777$`)}), "line 777", "line 1777")
	if have := collect(t, s, logs.Query{NoTail: true}); len(have) != 0 {
		t.Errorf("no tail gave %q", texts(have))
	}
}

func TestCountKnowsHowManyLinesThereAre(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{Segment: 100_000})
	write(t, s, "api", lines(0, 30_000))
	if n, err := s.Count(all(t, s)[0]); n != 30_000 || err != nil {
		t.Errorf("Count = %d, %v, want 30000", n, err)
	}
}

func TestGrepSeesTheTextWithoutColours(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	write(t, s, "api", "\x1b[31mER\x1b[1mROR\x1b[0m: x\n31m\nfine\n")
	want(t, "grep", collect(t, s, logs.Query{Grep: regexp.MustCompile(`^ERROR: x$`)}), "\x1b[31mER\x1b[1mROR\x1b[0m: x")
	want(t, "grep", collect(t, s, logs.Query{Grep: regexp.MustCompile(`31m`)}), "31m")
}

func TestSinceAndUntil(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{Segment: 1 << 20, Queue: 16 << 20})
	start := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	now := &clock{now: start}
	r, err := s.Begin(t.Context(), logs.Info{App: "api", Now: now.look})
	if err != nil {
		t.Fatal(err)
	}
	filler := strings.Repeat("f", 1000)
	for i := range 5_000 {
		now.set(start.Add(time.Duration(i) * time.Second))
		put(r.Writer(logs.Stdout), fmt.Sprintf("%d %s\n", i, filler))
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ from, to int }{{0, 4999}, {1, 2}, {2500, 2600}, {4999, 4999}, {100, 4000}} {
		have := collect(t, s, logs.Query{
			Since: start.Add(time.Duration(tt.from) * time.Second), Until: start.Add(time.Duration(tt.to) * time.Second),
		})
		if len(have) != tt.to-tt.from+1 || !strings.HasPrefix(have[0].text, fmt.Sprint(tt.from, " ")) {
			t.Errorf("from %d to %d: %d lines, want %d", tt.from, tt.to, len(have), tt.to-tt.from+1)
		}
	}
	if have := collect(t, s, logs.Query{Since: start.Add(5000 * time.Second)}); len(have) != 0 {
		t.Errorf("since the end gave %d lines", len(have))
	}
}

func TestReadingWorksWithoutAnIndex(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{Segment: 200_000})
	write(t, s, "api", lines(0, 20_000))
	files, err := filepath.Glob(filepath.Join(s.Dir(), "default/api/1/*.idx"))
	if err != nil || len(files) < 2 {
		t.Fatalf("Glob = %v, %v, want an index for each segment", files, err)
	}
	for i, f := range files {
		damaged := []byte("not an index, whatever it says\n")
		if i%2 == 0 {
			damaged = nil
		}
		if err := os.WriteFile(f, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "tail 2", collect(t, s, logs.Query{Tail: 2}), "line 19998", "line 19999")
	if have := collect(t, s, logs.Query{}); len(have) != 20_000 {
		t.Errorf("%d lines, want 20000", len(have))
	}
}

func TestADamagedFileIsReadAsWellAsItCan(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	write(t, s, "api", "one\ntwo\n")
	path := filepath.Join(s.Dir(), "default/api/1/000001.log")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad := bytes.Join([][]byte{good, []byte("edited by hand\n\n"), bytes.Repeat([]byte{'q'}, 300_000), []byte("\n"), good, []byte("2026-11-2")}, nil)
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	have := texts(collect(t, s, logs.Query{}))
	if len(have) < 7 || have[0] != "one" || have[2] != "edited by hand" || have[len(have)-2] != "two" || have[len(have)-1] != "2026-11-2" {
		t.Errorf("a damaged file gave %d lines: %.60q", len(have), have)
	}
}

// 64 MB are searched with the memory of a few buffers.
func TestMemoryDoesNotGrowWithTheLog(t *testing.T) {
	s := open(t, logs.Limits{Run: 256 << 20, Queue: 96 << 20})
	r := begin(t, s, "api")
	line := strings.Repeat("m", 199) + "\n"
	chunk := []byte(strings.Repeat(line, 5_000)) // 1 MB
	for range 64 {
		_, _ = r.Writer(logs.Stdout).Write(chunk)
	}
	put(r.Writer(logs.Stdout), "the end\n")
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = nil
	measure := func(q logs.Query) (n int, allocated uint64) {
		q.Runs = all(t, s)
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := s.Read(t.Context(), q, func(logs.Line) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return n, after.TotalAlloc - before.TotalAlloc
	}
	for _, tt := range []struct {
		name  string
		query logs.Query
		lines int
	}{
		{"all", logs.Query{}, 320_001},
		{"grep", logs.Query{Grep: regexp.MustCompile("^the end$")}, 1},
		{"tail", logs.Query{Tail: 20}, 20},
		{"long tail", logs.Query{Tail: 200_000}, 200_000},
	} {
		n, allocated := measure(tt.query)
		if n != tt.lines || allocated > 16<<20 {
			t.Errorf("%s: %d lines with %d bytes allocated in all, want %d with less than 16 MiB", tt.name, n, allocated, tt.lines)
		}
	}
}

// The merge is a stable sort by time that never reorders one run.
func TestMergedOrder(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		s, err := logs.Open(filepath.Join(base, fmt.Sprint(n)), logs.Limits{Segment: 200})
		if err != nil {
			rt.Fatal(err)
		}
		type entry struct {
			key  time.Time
			text string
		}
		var model []entry
		start := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
		for run := range rapid.IntRange(1, 4).Draw(rt, "runs") {
			now := &clock{now: start}
			r, err := s.Begin(t.Context(), logs.Info{App: "api", Now: now.look})
			if err != nil {
				rt.Fatal(err)
			}
			var key time.Time
			for i, step := range rapid.SliceOfN(rapid.IntRange(-2, 5), 0, 20).Draw(rt, "steps") {
				now.set(now.look().Add(time.Duration(step) * time.Second)) // clocks are set back, too
				if now.look().After(key) {
					key = now.look()
				}
				text := fmt.Sprintf("%d/%d", run, i)
				r.Line(logs.Stdout, text)
				model = append(model, entry{key, text})
			}
			if err := r.Close(t.Context()); err != nil {
				rt.Fatal(err)
			}
		}
		slices.SortStableFunc(model, func(a, b entry) int { return a.key.Compare(b.key) })
		var expected []string
		for _, e := range model {
			expected = append(expected, e.text)
		}
		tail := rapid.IntRange(0, 30).Draw(rt, "tail")
		if tail > 0 {
			expected = expected[max(0, len(expected)-tail):]
		}
		if have := texts(collect(t, s, logs.Query{Tail: tail})); !slices.Equal(have, expected) {
			rt.Errorf("Read = %q, want %q", have, expected)
		}
	})
}
