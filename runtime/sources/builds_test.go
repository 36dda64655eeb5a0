package sources_test

import (
	"path/filepath"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
	"github.com/pillion-dev/pillion/runtime/sources"
)

// program is what a build makes: no text.
const program = "\x7fELF\x00"

// built runs a build and wants nothing told but the paths.
func built(t *testing.T, w *sources.Watched, build func(), paths ...string) {
	t.Helper()
	end := w.Build()
	build()
	end()
	if len(paths) > 0 {
		wants(t, w, paths...)
	}
	if len(w.Changed()) > 0 {
		t.Fatalf("after the build: %v", <-w.Changed())
	}
}

func TestAProgramThatABuildMakesIsNotTold(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, "main.go", "1")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		built(t, w, func() { write(t, dir, "app", program+"1") })
		built(t, w, func() { write(t, dir, "app", program+"12") })
		write(t, dir, "main.go", "12")
		wants(t, w, "main.go")
		built(t, w, func() { write(t, dir, "app", program+"123") })
	})
}

func TestWhatAPersonWritesDuringABuildIsTold(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, "main.go", "1", "api.go", "1")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		built(t, w, func() { write(t, dir, "main.go", "12", "app", program) }, "main.go")
		// The same file once more: it has changed beside builds, so that it is a
		// person's.
		write(t, dir, "api.go", "12")
		wants(t, w, "api.go")
		built(t, w, func() { write(t, dir, "api.go", "123") }, "api.go")
		built(t, w, func() { write(t, dir, "api.go", "1234") }, "api.go")
	})
}

func TestTextThatABuildMakesIsToldOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		write(t, dir, "main.ts", "1")
		w := watch(t, sources.Options{Dir: dir, Files: files})
		built(t, w, func() { write(t, dir, "public/bundle.js", "1") }, "public/bundle.js")
		built(t, w, func() { write(t, dir, "public/bundle.js", "12") })
		write(t, dir, "main.ts", "12")
		wants(t, w, "main.ts")
		built(t, w, func() { write(t, dir, "public/bundle.js", "123") })
	})
}

func TestWhatChangedBeforeABuildIsInIt(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		w := watch(t, sources.Options{Dir: dir, Files: files})
		write(t, dir, "main.go", "1")
		within.Until(t, "the change", func() bool { return len(w.Changed()) == 1 })
		write(t, dir, "api.go", "1")
		built(t, w, func() {})
		write(t, dir, "last.go", "1")
		wants(t, w, "last.go")
	})
}

func TestNothingIsToldAfterClose(t *testing.T) {
	bothWays(t, func(t *testing.T, files *filewatch.Watcher) {
		dir := t.TempDir()
		w := watch(t, sources.Options{Dir: dir, Files: files})
		other := watch(t, sources.Options{Dir: dir, Files: files})
		w.Close()
		write(t, dir, "main.go", "1")
		wants(t, other, "main.go")
		end := w.Build()
		write(t, filepath.Join(dir, "sub"), "main.go", "1")
		end()
		if len(w.Changed()) > 0 {
			t.Errorf("told of %v", <-w.Changed())
		}
	})
}
