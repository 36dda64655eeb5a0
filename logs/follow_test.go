package logs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/logs"
)

// A follower follows in the background and hands over what it reads.
type follower struct {
	lines chan got
	ended chan logs.RunInfo
	err   chan error
	stop  context.CancelFunc
}

func follow(t *testing.T, s *logs.Store, q logs.Query) *follower {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	f := &follower{lines: make(chan got, 1<<20), ended: make(chan logs.RunInfo, 100), err: make(chan error, 1), stop: stop}
	q.Follow = true
	q.Ended = func(r logs.RunInfo) error { f.ended <- r; return nil }
	go func() {
		f.err <- s.Read(ctx, q, func(l logs.Line) error {
			f.lines <- got{l, string(l.Text)}
			return nil
		})
		close(f.lines)
	}()
	return f
}

func (f *follower) next(t *testing.T) got {
	t.Helper()
	select {
	case l, ok := <-f.lines:
		if !ok {
			t.Fatal("Read returned")
		}
		return l
	case <-time.After(within.Patience):
		t.Fatal("no line came")
	}
	return got{}
}

func (f *follower) want(t *testing.T, text string) got {
	t.Helper()
	l := f.next(t)
	if l.text != text {
		t.Fatalf("followed %q, want %q", l.text, text)
	}
	return l
}

func TestFollowGoesOnUntilTheRunEnds(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	r := begin(t, s, "api")
	out := r.Writer(logs.Stdout)
	put(out, "one\n")
	f := follow(t, s, logs.Query{Runs: all(t, s)})
	f.want(t, "one")
	put(out, "two\n")
	f.want(t, "two")
	put(out, "half")
	if l := f.want(t, "half"); !l.Continues {
		t.Error("half a line does not continue")
	}
	put(out, " and half\n")
	if l := f.want(t, " and half"); !l.Continued || l.Continues {
		t.Errorf("the rest: Continued = %v, Continues = %v", l.Continued, l.Continues)
	}
	r.Line(logs.Pillion, "ended, exit 3")
	r.End("exit 3")
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.want(t, "ended, exit 3")
	if err := within.Receive(t, f.err); err != nil {
		t.Errorf("Read = %v, want nil at the run's end", err)
	}
	if run := within.Receive(t, f.ended); run.Exit != "exit 3" || run.State != logs.Ended {
		t.Errorf("ended: %+v", run)
	}
}

func TestFollowMeetsNewRunsAndApps(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	f := follow(t, s, logs.Query{Next: func() ([]logs.RunInfo, error) {
		apps, err := s.Apps()
		var runs []logs.RunInfo
		for _, app := range apps {
			some, _ := s.Runs(app)
			runs = append(runs, some...)
		}
		return runs, err
	}})
	write(t, s, "api", "first\n")
	f.want(t, "first")
	if run := within.Receive(t, f.ended); run.Run != 1 {
		t.Errorf("ended: run %d, want 1", run.Run)
	}
	write(t, s, "api", "again\n")
	if l := f.want(t, "again"); l.Run != 2 {
		t.Errorf("run %d, want 2", l.Run)
	}
	r := begin(t, s, "web")
	defer func() { _ = r.Close(t.Context()) }()
	put(r.Writer(logs.Stderr), "hello\n")
	if l := f.want(t, "hello"); l.App != "web" || l.Stream != logs.Stderr {
		t.Errorf("line of %s on %v", l.App, l.Stream)
	}
	f.stop()
	if err := within.Receive(t, f.err); !errors.Is(err, context.Canceled) {
		t.Errorf("Read = %v, want that it was cancelled", err)
	}
}

func TestFollowSurvivesRollover(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{Segment: 4096, Run: 64 << 20})
	r := begin(t, s, "api")
	f := follow(t, s, logs.Query{Runs: all(t, s)})
	out := r.Writer(logs.Stdout)
	for i := range 20_000 {
		put(out, fmt.Sprintf("line %d\n", i))
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 20_000 {
		f.want(t, fmt.Sprintf("line %d", i))
	}
	if err := within.Receive(t, f.err); err != nil {
		t.Errorf("Read = %v", err)
	}
}

// The reader is slower than the writer, and segments go before it reads them.
func TestFollowSaysWhatWasDroppedBeforeItCouldBeRead(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{Segment: 4096, Run: 16384})
	r := begin(t, s, "api")
	out := r.Writer(logs.Stdout)
	put(out, "line 0\n")
	started, proceed := make(chan bool), make(chan bool)
	var seen []string
	var dropped int
	done := make(chan error, 1)
	runs := all(t, s)
	go func() {
		first := true
		done <- s.Read(t.Context(), logs.Query{Runs: runs, Follow: true}, func(l logs.Line) error {
			if first {
				first = false
				close(started)
				<-proceed
			}
			if l.Stream == logs.Gap {
				_, err := fmt.Sscanf(string(l.Text), "%d lines dropped", &dropped)
				return err
			}
			seen = append(seen, string(l.Text))
			return nil
		})
	}()
	within.Receive(t, started)
	for i := 1; i < 5000; i++ {
		put(out, fmt.Sprintf("line %d\n", i))
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(proceed)
	if err := within.Receive(t, done); err != nil {
		t.Fatal(err)
	}
	if dropped == 0 || len(seen)+dropped != 5000 || seen[len(seen)-1] != "line 4999" {
		t.Errorf("%d lines seen and %d said to be dropped, want 5000 in all, the last one last (it is %q)", len(seen), dropped, seen[len(seen)-1])
	}
}

// removeAll removes a folder in which a sweep that begins only now may make a
// file meanwhile.
func removeAll(t *testing.T, dir string) {
	t.Helper()
	within.Until(t, dir+" to be gone", func() bool { return os.RemoveAll(dir) == nil })
}

func TestFollowEndsWhenTheRunIsRemoved(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	r := begin(t, s, "api")
	put(r.Writer(logs.Stdout), "one\n")
	f := follow(t, s, logs.Query{Runs: all(t, s)})
	f.want(t, "one")
	removeAll(t, s.Dir())
	if err := within.Receive(t, f.err); err != nil {
		t.Errorf("Read = %v, want nil", err)
	}
	_ = r.Close(t.Context())
}

// Somebody frees space with rm -r while an app runs.
func TestARemovedFolderIsMadeAnew(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	r := begin(t, s, "api")
	out := r.Writer(logs.Stdout)
	put(out, "one\n")
	f := follow(t, s, logs.Query{Runs: all(t, s)})
	f.want(t, "one")
	removeAll(t, s.Dir())
	if err := within.Receive(t, f.err); err != nil {
		t.Fatal(err)
	}
	for tick := time.Tick(5 * time.Millisecond); r.Problem() == ""; { // it looks once a second
		select {
		case <-tick:
			put(out, "on\n")
		case <-r.Failed():
		}
	}
	put(out, "last\n")
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	have := texts(collect(t, s, logs.Query{}))
	if len(have) < 2 || !strings.Contains(have[0], "was removed while the app ran") || have[len(have)-1] != "last" {
		t.Errorf("kept %d lines, %q to %q", len(have), have[:min(len(have), 2)], have[max(0, len(have)-1):])
	}
	if !strings.Contains(r.Problem(), "was removed") {
		t.Errorf("Problem = %q", r.Problem())
	}
	if run := all(t, s)[0]; run.State != logs.Ended || run.Run != r.Number() {
		t.Errorf("run = %+v", run)
	}
}

func TestAStoreThatCannotBeMade(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := logs.Open(filepath.Join(file, "logs"), logs.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.Begin(t.Context(), logs.Info{App: "api"}); err == nil || r != nil {
		t.Errorf("Begin = %v, %v, want nil and an error", r, err)
	}
}
