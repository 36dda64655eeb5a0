package filewatch_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/runtime/filewatch"
)

// ways are those by which a change is seen.
var ways = map[string]func(*filewatch.Watcher){
	"by events":  (*filewatch.Watcher).Rarely,
	"by looking": func(w *filewatch.Watcher) { w.Deaf(errors.New("no more of them")) },
}

// A watch is a watched set, and the changes that were told.
type watch struct {
	t      *testing.T
	told   chan struct{}
	detach func()
}

// watching runs a watcher of paths until the test ends.
func watching(t *testing.T, how func(*filewatch.Watcher), s filewatch.Set) *watch {
	t.Helper()
	w := filewatch.New(nil)
	how(w)
	run(t, w)
	out := &watch{t: t, told: make(chan struct{}, 1000)}
	out.detach = w.Watch(s, func() { out.told <- struct{}{} })
	return out
}

func run(t *testing.T, w *filewatch.Watcher) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := within.Receive(t, ended); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// after does something and waits until it is told.
func (w *watch) after(what string, do func()) {
	w.t.Helper()
	do()
	w.t.Log("waiting to be told of", what)
	within.Receive(w.t, w.told)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace is what editors do: a new file takes the name of the old one.
func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+"~", text)
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
}

func TestEachKindOfChangeIsTold(t *testing.T) {
	t.Parallel()
	for name, how := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			folder, file := filepath.Join(dir, "resources"), filepath.Join(dir, "config.yaml")
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, file, "1")
			w := watching(t, how, filewatch.Set{Paths: []string{folder, file}})
			inside := filepath.Join(folder, "a.yaml")
			w.after("a new file", func() { write(t, inside, "1") })
			w.after("a longer file", func() { write(t, inside, "12") })
			w.after("a replaced file", func() { replace(t, inside, "123") })
			w.after("a file by itself", func() { write(t, file, "12") })
			w.after("a file by itself, replaced", func() { replace(t, file, "1234") })
			w.after("that, once more", func() { replace(t, file, "12345") })
			w.after("a file that goes", func() { must(t, os.Remove(inside)) })
			w.after("a folder that goes", func() { must(t, os.RemoveAll(folder)) })
			w.after("a folder that comes again", func() { must(t, os.Mkdir(folder, 0o700)) })
			w.after("a file in it", func() { write(t, inside, "1") })
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFolderThatIsNotThereYetIsFound(t *testing.T) {
	t.Parallel()
	for name, how := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			folder := filepath.Join(dir, "a", "b", "resources")
			w := watching(t, how, filewatch.Set{Paths: []string{folder}})
			w.after("the folder", func() { must(t, os.MkdirAll(folder, 0o700)) })
			w.after("a file in it", func() { write(t, filepath.Join(folder, "x"), "1") })
		})
	}
}

// A folder may come between the look that found where to listen and the
// listening.
func TestAFolderThatComesBeforeItIsListenedForIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outer := filepath.Join(dir, "a")
	inner := filepath.Join(outer, "b")
	folder := filepath.Join(inner, "resources")
	asked := make(chan string, 1000)
	w := watching(t, func(w *filewatch.Watcher) {
		w.Rarely()
		w.Before(func(folder string) {
			if folder == outer {
				must(t, os.MkdirAll(inner, 0o700))
			}
			asked <- folder
		})
	}, filewatch.Set{Paths: []string{folder}})
	within.Receive(t, asked)
	must(t, os.Mkdir(outer, 0o700))
	for within.Receive(t, asked) != inner {
	}
	w.after("the folder", func() { must(t, os.Mkdir(folder, 0o700)) })
}

func TestManyChangesAtOnceAreFewCalls(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := watching(t, (*filewatch.Watcher).Rarely, filewatch.Set{Paths: []string{dir}})
	const writes = 500
	began := time.Now()
	w.after("many writes", func() {
		for range writes {
			write(t, filepath.Join(dir, "a"), "1")
		}
	})
	// On a busy machine one write may come long after the other: a call each.
	if calls, took := len(w.told), time.Since(began); calls > writes/10 && calls > int(took/filewatch.Quiet) {
		t.Errorf("%d calls for %d writes in %v", calls+1, writes, took)
	}
}

func TestWhatIsNotWatchedIsNotTold(t *testing.T) {
	t.Parallel()
	for name, how := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file, beside := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
			sub := filepath.Join(dir, "sub")
			must(t, os.Mkdir(sub, 0o700))
			write(t, file, "1")
			w := filewatch.New(nil)
			how(w)
			run(t, w)
			told := make(chan string, 1000)
			w.Watch(filewatch.Set{Paths: []string{file}}, func() { told <- "file" })
			w.Watch(filewatch.Set{
				Paths:  []string{sub},
				Ignore: func(path string) bool { return strings.HasSuffix(path, ".txt") },
			}, func() { told <- "folder" })
			detach := w.Watch(filewatch.Set{Paths: []string{beside}}, func() { told <- "detached" })
			detach()
			write(t, beside, "1")
			write(t, filepath.Join(sub, "a.txt"), "1")
			must(t, os.Chmod(file, 0o400))
			write(t, filepath.Join(sub, "a.yaml"), "1")
			if got := within.Receive(t, told); got != "folder" {
				t.Errorf("%s is told first, want folder", got)
			}
		})
	}
}

func TestWithoutEventsAChangeIsSeenAllTheSame(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := filepath.Join(t.TempDir(), "real.yaml")
	write(t, target, "1")
	link := filepath.Join(dir, "a.yaml")
	if err := os.Symlink(target, link); err != nil {
		t.Skip("no symbolic links:", err)
	}
	w := watching(t, (*filewatch.Watcher).Often, filewatch.Set{Paths: []string{dir}})
	// What a link leads to is in another folder, of which nobody tells us.
	w.after("the file behind a link", func() { write(t, target, "12") })
}

func TestThatThereAreNoEventsIsSaidOnce(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var out strings.Builder
	w := filewatch.New(slog.New(slog.NewTextHandler(locked{&mu, &out}, nil)))
	w.Deaf(errors.New("too many open files"))
	run(t, w)
	dir := t.TempDir()
	told := make(chan struct{}, 100)
	w.Watch(filewatch.Set{Paths: []string{dir}}, func() { told <- struct{}{} })
	for _, name := range []string{"a", "b"} {
		write(t, filepath.Join(dir, name), "1")
		within.Receive(t, told)
	}
	mu.Lock()
	defer mu.Unlock()
	if n := strings.Count(out.String(), "too many open files"); n != 1 {
		t.Errorf("said %d times:\n%s", n, out.String())
	}
}

type locked struct {
	mu  *sync.Mutex
	out *strings.Builder
}

func (l locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}
