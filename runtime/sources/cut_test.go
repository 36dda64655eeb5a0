package sources_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
	"github.com/pillion-dev/pillion/runtime/sources"
)

// waits wants nothing told of a change until the build ends. seen watches the
// same files beside it.
func waits(t *testing.T, w, seen *sources.Watched, save func(), paths ...string) {
	t.Helper()
	end := w.Build()
	save()
	for _, path := range paths {
		for !slices.Contains(within.Receive(t, seen.Changed()).Paths, path) {
		}
	}
	if len(w.Changed()) > 0 {
		t.Fatalf("told during the build: %v", <-w.Changed())
	}
	end()
	wants(t, w, paths...)
}

// cuts wants a change told while the build runs, and nothing at its end.
func cuts(t *testing.T, w *sources.Watched, save func(), paths ...string) {
	t.Helper()
	end := w.Build()
	save()
	wants(t, w, paths...)
	end()
	if len(w.Changed()) > 0 {
		t.Fatalf("at the end: %v", <-w.Changed())
	}
}

func TestASourceThatIsSavedDuringABuildIsToldAtOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, "main.go", "1")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		write(t, dir, "main.go", "12")
		wants(t, w, "main.go")
		cuts(t, w, func() { write(t, dir, "main.go", "123") }, "main.go")
		cuts(t, w, func() { write(t, dir, "main.go", "1234") }, "main.go")
	})
}

// What no build has written yet is a person's, though it never changed before.
func TestAFileThatNoBuildWritesIsToldAtOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, "main.go", "1", "api.go", "1")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		seen := watch(t, sources.Options{Dir: dir, Files: files})
		save := func(name, text string) func() { return func() { write(t, dir, name, text) } }
		waits(t, w, seen, save("main.go", "12"), "main.go") // the first build may write anything
		cuts(t, w, save("api.go", "12"), "api.go")
		waits(t, w, seen, save("api.go", "123"), "api.go") // not twice in a row
		waits(t, w, seen, save("new.go", "1"), "new.go")   // builds make new files
	})
}

// The build may be what writes it.
func TestNotAllBuildsAreCutOff(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		w := watch(t, sources.Options{Dir: dir, Files: files})
		seen := watch(t, sources.Options{Dir: dir, Files: files})
		text := ""
		save := func() { text += "1"; write(t, dir, "gen.go", text) }
		save()
		wants(t, w, "gen.go")
		for range 5 {
			cuts(t, w, save, "gen.go")
		}
		waits(t, w, seen, save, "gen.go")
		built(t, w, func() {})
		cuts(t, w, save, "gen.go")
	})
}

// It would be built again for ever, since the app is never started.
func TestABuildThatFailsAndRewritesASourceIsALoop(t *testing.T) {
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
		}
		if !isFive(n) {
			t.Errorf("built %d times", n)
		}
	})
}

func TestAPictureThatIsSavedDuringABuildIsTold(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, "logo.PNG", "\x89PNG\x00", "names.txt", "\xff\xfea\x00")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		built(t, w, func() {
			write(t, dir, "logo.PNG", "\x89PNG\x00\x00", "names.txt", "\xff\xfea\x00b\x00", "app", program)
		}, "logo.PNG", "names.txt")
	})
}

// What two builds wrote, or seemed to, is a person's once it changes beside
// them.
func TestAProductThatAPersonWritesIsASource(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, "main.go", "1", "app", program)
		w := watch(t, sources.Options{Dir: dir, Files: files})
		built(t, w, func() { write(t, dir, "main.go", "12", "app", program+"1") }, "main.go")
		built(t, w, func() { write(t, dir, "main.go", "123", "app", program+"12") })
		write(t, dir, "main.go", "1234")
		wants(t, w, "main.go")
		cuts(t, w, func() { write(t, dir, "main.go", strings.Repeat("1", 5)) }, "main.go")
		write(t, dir, "app", program+"123")
		wants(t, w, "app")
		built(t, w, func() { write(t, dir, "app", program+"1234") })
	})
}
