package sources_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
	"github.com/pillion-dev/pillion/runtime/sources"
)

// soon is how long after a start a change may be of its making.
const soon = 10 * time.Second

// starts starts an app again for each change that is told, until a loop is: how
// often, and the loop. app is what the app does when it is started. A busy machine
// may see a change later than soon, which begins the row anew: of the starts until
// then no more are counted than a loop takes.
func starts(t *testing.T, w *sources.Watched, app func(n int)) (n int, loop []string) {
	t.Helper()
	slow := 0
	for n < 50 {
		n++
		began := time.Now()
		w.Restarted()
		app(n)
		c := within.Receive(t, w.Changed())
		if len(c.Loop) > 0 && c.Total == 0 {
			return max(min(n, 5), n-slow), c.Loop
		}
		if time.Since(began) > soon {
			slow = n
		}
	}
	t.Fatalf("%d starts, and no loop", n)
	return n, nil
}

// isFive reports whether n starts are five, and some in which nothing was seen,
// since a slow machine may see one write as two.
func isFive(n int) bool { return 5 <= n && n <= 9 }

func TestAFileThatTheAppWritesAtEachStartCountsNoMore(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, "main.go", "1")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		app := func(n int) { write(t, dir, "data/cache.json", fmt.Sprint(n, time.Now())) }
		n, loop := starts(t, w, app)
		if !isFive(n) || !slices.Equal(loop, []string{"data/cache.json"}) {
			t.Errorf("after %d starts: %v", n, loop)
		}
		// Starting it for another file goes on, and what it writes is not told.
		for _, text := range []string{"12", "123"} {
			w.Restarted()
			app(0)
			write(t, dir, "main.go", text)
			wants(t, w, "main.go")
		}
	})
}

func TestNamesWithOtherNumbersAreOneLoop(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		w := watch(t, sources.Options{Dir: dir, Files: files})
		n, _ := starts(t, w, func(n int) { write(t, dir, fmt.Sprintf("upload-%d-1f3c9a7%d.txt", n, n), "1") })
		if !isFive(n) {
			t.Errorf("a loop after %d starts, want 5", n)
		}
	})
}

// As those that come with a name nobody has had.
func TestNewFilesOfOneKindAreOneLoop(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, "data/mine.txt", "1")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		last := ""
		app := func(n int) {
			if last != "" {
				must(t, os.Remove(filepath.Join(dir, last)))
			}
			last = "data/" + strings.Repeat("x", n+1) + ".txt"
			write(t, dir, last, "1")
		}
		n, _ := starts(t, w, app)
		if !isFive(n) {
			t.Errorf("a loop after %d starts, want 5", n)
		}
		w.Restarted()
		app(n + 1)
		write(t, dir, "data/mine.txt", "12")
		wants(t, w, "data/mine.txt")
	})
}

func TestAPersonsFileCountsAgain(t *testing.T) {
	inABubble(t, func(t *testing.T, dir string, w *sources.Watched) {
		saved := 0
		save := func(int) {
			saved++
			write(t, dir, "main.go", strings.Repeat("x", saved))
		}
		for round := range 2 {
			if n, loop := starts(t, w, save); n != 5 || !slices.Equal(loop, []string{"main.go"}) {
				t.Errorf("round %d: %d starts, loop %v", round, n, loop)
			}
			save(0) // without a start: the app did not do it
			wants(t, w, "main.go")
		}
	})
}

// inABubble watches a folder while time does not pass by itself.
func inABubble(t *testing.T, test func(t *testing.T, dir string, w *sources.Watched)) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		files := filewatch.NewPolling(nil, 500*time.Millisecond)
		run(t, files)
		w, err := sources.Watch(sources.Options{Dir: dir, Files: files})
		if err != nil {
			t.Fatal(err)
		}
		test(t, dir, w)
		w.Close()
	})
}

func TestWhatChangesLongAfterAStartIsNoLoop(t *testing.T) {
	inABubble(t, func(t *testing.T, dir string, w *sources.Watched) {
		for n := range 20 {
			w.Restarted()
			time.Sleep(11 * time.Second)
			write(t, dir, "notes.txt", fmt.Sprintf("%*d", n+1, n))
			wants(t, w, "notes.txt")
		}
	})
}

func TestWhoSavesLooksAndSavesAgainIsNoLoop(t *testing.T) {
	inABubble(t, func(t *testing.T, dir string, w *sources.Watched) {
		for n := range 20 {
			w.Restarted()
			time.Sleep(3 * time.Second)
			write(t, dir, "main.go", fmt.Sprintf("%*d", n+1, n))
			wants(t, w, "main.go")
		}
	})
}

func TestAnotherFileEachTimeIsNoLoop(t *testing.T) {
	inABubble(t, func(t *testing.T, dir string, w *sources.Watched) {
		for n := range 20 {
			w.Restarted()
			name := []string{"one.go", "two.go"}[n%2]
			write(t, dir, name, fmt.Sprintf("%*d", n+1, n))
			wants(t, w, name)
		}
	})
}

// An app that writes a file now and then, whether it was started or not, starts
// itself anew for a while, but not for ever.
func TestAFileThatIsWrittenNowAndThenIsALoopInTheEnd(t *testing.T) {
	inABubble(t, func(t *testing.T, dir string, w *sources.Watched) {
		w.Restarted()
		started := 0
		for n := range 200 {
			time.Sleep(4 * time.Second)
			write(t, dir, "state.json", fmt.Sprintf("%*d", n+1, n))
			time.Sleep(2 * time.Second)
			select {
			case c := <-w.Changed():
				if c.Total > 0 {
					started++
					w.Restarted()
				}
			default:
			}
		}
		if started < 5 || started > 12 {
			t.Errorf("started %d times", started)
		}
	})
}

// A build that writes its text into the folder, and changes a source too.
func TestABuildThatRewritesASourceIsALoop(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		w := watch(t, sources.Options{Dir: dir, Files: files})
		w.Restarted()
		write(t, dir, "gen.go", "0") // beside builds: from now on a person's
		n := 0
		for c := within.Receive(t, w.Changed()); len(c.Loop) == 0; c = within.Receive(t, w.Changed()) {
			if n++; n > 20 {
				t.Fatal("built 20 times")
			}
			end := w.Build()
			write(t, dir, "gen.go", fmt.Sprint(n, time.Now()))
			end()
			w.Restarted()
		}
		if !isFive(n) {
			t.Errorf("built %d times", n)
		}
	})
}
