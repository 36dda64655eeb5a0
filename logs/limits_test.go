package logs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/logs"
)

func numbers(t *testing.T, s *logs.Store, app string) []int {
	t.Helper()
	runs, err := s.Runs(logs.App{Namespace: "default", Name: app})
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, r := range runs {
		all = append(all, r.Run)
	}
	return all
}

func TestTheOldestRunsGoFirst(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{Total: 1 << 20, Segment: 64 << 10})
	quiet := write(t, s, "quiet", "hello\n")
	big := strings.Repeat("b", 299) + "\n"
	for range 5 {
		write(t, s, "api", strings.Repeat(big, 1200)) // 400 kB each
	}
	if err := begin(t, s, "api").Close(t.Context()); err != nil { // drops
		t.Fatal(err)
	}
	if have := numbers(t, s, "api"); !slices.Equal(have, []int{4, 5, 6}) {
		t.Errorf("runs of api are %v, want 4, 5 and 6", have)
	}
	if have := numbers(t, s, "quiet"); !slices.Equal(have, []int{quiet}) {
		t.Errorf("runs of quiet are %v: the only run of an app goes last", have)
	}
}

func TestALiveRunIsNeverDropped(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{Total: 1, Runs: 1})
	live := begin(t, s, "api")
	put(live.Writer(logs.Stdout), "still here\n")
	for range 3 {
		write(t, s, "api", "short\n")
	}
	if have := numbers(t, s, "api"); !slices.Contains(have, 1) {
		t.Errorf("runs are %v, want the live run 1 among them", have)
	}
	if err := live.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, "run 1", collect(t, s, logs.Query{Runs: all(t, s)[:1]}), "still here")
}

func TestNumbersAreNeverGivenTwice(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{Runs: 1})
	for i := 1; i <= 5; i++ {
		if n := write(t, s, "api", "x\n"); n != i {
			t.Fatalf("run %d, want %d", n, i)
		}
	}
	if err := os.RemoveAll(filepath.Join(s.Dir(), "default/api/5")); err != nil {
		t.Fatal(err)
	}
	if n := write(t, s, "api", "x\n"); n < 5 {
		t.Errorf("run %d: dropped runs had 1 to 4", n)
	}
}

func TestManyBeginAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	var wg sync.WaitGroup
	runs := make([]*logs.Run, 20)
	for i := range runs {
		wg.Go(func() {
			r, err := s.Begin(t.Context(), logs.Info{App: "api", Instance: fmt.Sprint(i)})
			if err != nil {
				t.Error(err)
			}
			runs[i] = r
		})
	}
	wg.Wait()
	seen := map[int]bool{}
	for _, r := range runs {
		if seen[r.Number()] {
			t.Errorf("number %d was given twice", r.Number())
		}
		seen[r.Number()] = true
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if have := numbers(t, s, "api"); len(have) != 20 {
		t.Errorf("%d runs, want 20", len(have))
	}
}

func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	write(t, s, "api", "here\n")
	r, err := s.Begin(t.Context(), logs.Info{App: "api", Namespace: "feature"})
	if err != nil {
		t.Fatal(err)
	}
	r.Line(logs.Pillion, "there")
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.Number() != 1 {
		t.Errorf("the first run of a namespace is %d, want 1", r.Number())
	}
	apps, err := s.Apps()
	if want := []logs.App{{Namespace: "default", Name: "api"}, {Namespace: "feature", Name: "api"}}; err != nil || !slices.Equal(apps, want) {
		t.Errorf("Apps = %v, %v, want %v", apps, err, want)
	}
}

func TestNamesCannotLeaveTheFolder(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	for _, info := range []logs.Info{{App: ".."}, {App: "a/b"}, {App: ""}, {App: "a", Namespace: "../x"}} {
		if r, err := s.Begin(t.Context(), info); err == nil {
			t.Errorf("Begin(%+v) = %v, want an error", info, r)
		}
	}
}
