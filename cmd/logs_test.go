package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/logs"
)

// A kept is a run that a test put into a home's logs.
type kept struct {
	app, namespace, instance string
	start                    time.Time
	lines                    []string // "o text", a second apart
	exit                     string
	live                     bool
}

// keepRuns makes a home with the logs of runs.
func keepRuns(t *testing.T, runs ...kept) (home string) {
	t.Helper()
	home = t.TempDir()
	store, err := logs.Open(filepath.Join(home, "logs"), logs.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range runs {
		moments := make(chan time.Time, 1)
		moments <- k.start
		now := func() time.Time {
			at := <-moments
			moments <- at
			return at
		}
		r, err := store.Begin(t.Context(), logs.Info{
			App: k.app, Namespace: k.namespace, Instance: k.instance, Command: []string{"go", "run", "."}, Now: now,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range k.lines {
			moments <- within.Receive(t, moments).Add(time.Second)
			r.Line(logs.Stream(line[0]), line[2:])
		}
		if k.live {
			// A test's context has ended when its clean-up runs; the run has not.
			t.Cleanup(func() { _ = r.Close(context.WithoutCancel(t.Context())) })
			continue
		}
		r.End(k.exit)
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return home
}

// showLog runs `pillion logs` in a home.
func showLog(home string, args ...string) (out, errs string, status int) {
	var o, e bytes.Buffer
	status = Main(append([]string{"logs"}, args...), ui.Streams{
		In: strings.NewReader(""), Out: &o, Err: &e,
		Getenv: func(name string) string {
			return map[string]string{"PILLION_HOME": home, "TERM": "xterm-256color", "LANG": "C.UTF-8", "COLUMNS": "60"}[name]
		},
	})
	return o.String(), e.String(), status
}

var codes = regexp.MustCompile("\x1b\\[[0-9;]*m")

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.Local)

// shop is two apps, one of which ran twice, and a third in another namespace.
func shop(t *testing.T) string {
	return keepRuns(t,
		kept{app: "todo-api", instance: "aaaa", start: noon, lines: []string{"o old"}, exit: "exit 1"},
		kept{app: "todo-api", instance: "bbbb", start: noon.Add(time.Hour), lines: []string{"o one", "e \x1b[31mtwo", "p todo-api ended, exit 0"}, exit: "exit 0"},
		kept{app: "worker", instance: "cccc", start: noon.Add(time.Hour), lines: []string{"o first"}, exit: "exit 0"},
		kept{app: "todo-api", namespace: "feature", instance: "dddd", start: noon.Add(2 * time.Hour), lines: []string{"o other"}, exit: "exit 0"},
	)
}

func TestLogsInAPipe(t *testing.T) {
	t.Parallel()
	home := shop(t)
	for _, tt := range []struct {
		name, args, want string
	}{
		{"all", "", "todo-api | one\nworker | first\ntodo-api | two\ntodo-api | pillion: ended, exit 0\ntodo-api.feature | other\n"},
		{"one app", "worker", "first\n"},
		{"ours", "todo-api --namespace default", "one\ntwo\npillion: todo-api ended, exit 0\n"},
		{"a namespace", "todo-api.feature", "other\n"},
		{"an instance", "todo-api/aaaa", "old\n"},
		{"a number", "todo-api --run 1 -n default", "old\n"},
		{"the last that ended", "worker --run -1", "first\n"},
		{"two back", "todo-api --run -2 -n default", "old\n"},
		{"tail", "--tail 2", "todo-api | pillion: ended, exit 0\ntodo-api.feature | other\n"},
		{"no tail", "--tail 0", ""},
		{"grep", "--grep ^t.o$", "todo-api | two\n"},
		{"no names", "--no-prefix --grep o", "one\ntwo\npillion: todo-api ended, exit 0\nother\n"},
		{"raw", "-o raw todo-api -n default --grep two", "\x1b[31mtwo\n"},
		{"time", "worker --time", noon.Add(time.Hour+time.Second).UTC().Format("2006-01-02T15:04:05.000Z") + " first\n"},
	} {
		out, errs, status := showLog(home, strings.Fields(tt.args)...)
		if out != tt.want || status != 0 {
			t.Errorf("%s: logs %s = %d\n%s%swant\n%s", tt.name, tt.args, status, out, errs, tt.want)
		}
	}
}

func TestLogsOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	home := shop(t)
	for _, tt := range []struct {
		args, want string
		status     int
	}{
		{"workr", "pillion: error: no app \"workr\" has run here\npillion: hint: did you mean worker?\n", 3},
		{"zzz", "pillion: error: no app \"zzz\" has run here\npillion: cause: there are logs of todo-api, worker\n", 3},
		{"worker --run 7", "pillion: error: worker has no run 7\npillion: cause: its only run is 1\n", 3},
		{"worker --run -2", "pillion: error: worker has fewer than 2 runs that ended\npillion: cause: its only run is 1\n", 3},
		{"worker/zzzz", "pillion: error: worker has no instance \"zzzz\" in its logs\npillion: cause: its latest instance is cccc\n", 3},
		{"--run x", "pillion: error: --run: \"x\" is not the number of a run\npillion: hint: --run 7, or --run -1 for the last that ended\n", 2},
		{"--grep nowhere", "pillion: no line matches\n", 0},
	} {
		out, errs, status := showLog(home, strings.Fields(tt.args)...)
		if errs != tt.want || status != tt.status || out != "" {
			t.Errorf("logs %s = %d\n%s%swant %d\n%s", tt.args, status, out, errs, tt.status, tt.want)
		}
	}
	out, errs, status := showLog(t.TempDir())
	if out != "" || status != 0 || !strings.Contains(errs, "nothing has run here yet") || !strings.Contains(errs, "pillion run --app-id") {
		t.Errorf("logs where nothing ran = %d, %q, %q", status, out, errs)
	}
}

func TestLogsPreferWhatRuns(t *testing.T) {
	t.Parallel()
	home := keepRuns(t,
		kept{app: "gone", instance: "aaaa", start: noon, lines: []string{"o gone"}, exit: "exit 0"},
		kept{app: "web", instance: "bbbb", start: noon, lines: []string{"o before"}, exit: "exit 0"},
		kept{app: "web", instance: "cccc", start: noon, lines: []string{"o now"}, live: true},
	)
	store, err := logs.Open(filepath.Join(home, "logs"), logs.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for { // until the line is kept
		run, err := store.Runs(logs.App{Namespace: "default", Name: "web"})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := store.Count(run[1]); err != nil {
			t.Fatal(err)
		} else if n == 1 {
			break
		}
	}
	if out, errs, _ := showLog(home); out != "now\n" {
		t.Errorf("logs = %q, %q, want the live run alone", out, errs)
	}
	if out, errs, _ := showLog(home, "web", "--run", "-1"); out != "before\n" {
		t.Errorf("logs web --run -1 = %q, %q, want the run before", out, errs)
	}
}

func TestLogsAsJSON(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 14, 2, 10, 42_000_000, time.UTC)
	home := keepRuns(t, kept{app: "todo-api", instance: "9wd1", start: at, lines: []string{"e <\x1b[31mred\x1b[0m> \x00\"", "o \xff\xfe"}, exit: "exit 0"})
	out, _, status := showLog(home, "-o", "json")
	want := `{"time":"2026-11-22T14:02:11.042Z","app":"todo-api","instance":"9wd1","run":1,"stream":"stderr","line":"<red> \u0000\""}
{"time":"2026-11-22T14:02:12.042Z","app":"todo-api","instance":"9wd1","run":1,"stream":"stdout","lineBase64":"//4="}
`
	if out != want || status != 0 {
		t.Errorf("logs -o json = %d\n%swant\n%s", status, out, want)
	}
	_, errs, status := showLog(home, "nobody", "-o", "json")
	if !json.Valid([]byte(errs)) || status != 3 {
		t.Errorf("an error with -o json = %d, %q, want one object", status, errs)
	}
}

func TestLogsOnATerminal(t *testing.T) {
	t.Parallel()
	home := shop(t)
	out, _, _ := showLog(home, "todo-api", "-n", "default", "--color", "always")
	plain := codes.ReplaceAllString(out, "")
	want := "── run 2 · 2026-01-02 13:00:00 · go run . ──────────────────\none\ntwo\n── ended 13:00:03 · exit 0 · ran 3.0s ──────────────────────\n"
	if plain != want {
		t.Errorf("one app:\n%swant\n%s", plain, want)
	}
	if !strings.Contains(out, "\x1b[31mtwo\x1b[m\n") {
		t.Errorf("one app: %q: the row does not keep and close its colour", out)
	}
	out, _, _ = showLog(home, "--color", "always")
	plain = codes.ReplaceAllString(out, "")
	want = `── 2026-01-02 13:00:01 ─────────────────────────────────────
todo-api        │ one
worker          │ first
todo-api        │ two
todo-api        │ pillion: ended, exit 0
── todo-api.feature run 1 · 2026-01-02 14:00:00 · go run . ─
todo-ap…feature │ other
`
	if plain != want {
		t.Errorf("merged:\n%swant\n%s", plain, want)
	}
	for row := range strings.SplitSeq(plain, "\n") {
		if ui.Cells(row) > 60 {
			t.Errorf("merged: %q is wider than 60 columns", row)
		}
	}
}

func TestATerminalIsShownTheEndAndToldOfTheRest(t *testing.T) {
	t.Parallel()
	var lines []string
	for i := range 250 {
		lines = append(lines, fmt.Sprintf("o line %d", i))
	}
	home := keepRuns(t, kept{app: "api", instance: "aaaa", start: noon, lines: lines, exit: "exit 0"})
	out, errs, _ := showLog(home, "api", "--color", "always")
	rows := strings.Split(codes.ReplaceAllString(out, ""), "\n")
	if !slices.Contains(rows, "line 50") || slices.Contains(rows, "line 49") {
		t.Errorf("the last 200 of 250 lines begin %q", rows[:3])
	}
	told := strings.Join(strings.Fields(codes.ReplaceAllString(errs, "")), " ")
	if !strings.Contains(told, "50 lines before these") || !strings.Contains(told, "pillion logs api --tail all") {
		t.Errorf("it says %q", told)
	}
	if out, errs, _ = showLog(home, "api", "--color", "always", "--tail", "all"); !strings.Contains(out, "line 0\n") || errs != "" {
		t.Errorf("--tail all: begins %.40q, says %q", out, errs)
	}
	if out, errs, _ = showLog(home, "api"); !strings.Contains(out, "line 0\n") || errs != "" {
		t.Errorf("a pipe gets all: begins %.40q, says %q", out, errs)
	}
}

func TestMomentsAsPeopleTypeThem(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 14, 2, 30, 0, time.UTC)
	for given, want := range map[string]time.Time{
		"10m":                       now.Add(-10 * time.Minute),
		"2h4m":                      now.Add(-2*time.Hour - 4*time.Minute),
		"6d":                        now.Add(-6 * 24 * time.Hour),
		"14:02":                     now.Add(-30 * time.Second),
		"14:02:11":                  now.Add(-19 * time.Second),
		"15:00":                     time.Date(2026, 11, 21, 15, 0, 0, 0, time.UTC),
		"2026-11-20":                time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC),
		"2026-11-20 08:30":          time.Date(2026, 11, 20, 8, 30, 0, 0, time.UTC),
		"2026-11-22T14:02:11.042Z":  time.Date(2026, 11, 22, 14, 2, 11, 42_000_000, time.UTC),
		"2026-11-22T15:02:11+01:00": now.Add(-19 * time.Second),
	} {
		if got, err := parseMoment(given, now); err != nil || !got.Equal(want) {
			t.Errorf("parseMoment(%q) = %v, %v, want %v", given, got, err, want)
		}
	}
	for _, d := range []time.Duration{time.Millisecond, 1100 * time.Microsecond, 340 * time.Millisecond, 2300 * time.Millisecond, 192 * time.Second, 7440 * time.Second, 144 * time.Hour} {
		for _, printed := range []string{human.Duration(d), human.Age(d), human.Took(d)} {
			if _, err := parseMoment(printed, now); err != nil {
				t.Errorf("%q is printed and not read: %v", printed, err)
			}
		}
	}
	if _, err := parseMoment("soon", now); err == nil {
		t.Error(`parseMoment("soon") is a time`)
	}
}
