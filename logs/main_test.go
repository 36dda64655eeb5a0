package logs_test

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/logs"
)

// TestMain lets the test binary be the process that writes a log and is
// killed, or meets a full disk.
func TestMain(m *testing.M) {
	if part := os.Getenv("LOGS_TEST_PART"); part != "" {
		os.Exit(play(part, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// open opens a store of its own for the test.
func open(t *testing.T, limits logs.Limits) *logs.Store {
	t.Helper()
	s, err := logs.Open(filepath.Join(t.TempDir(), "logs"), limits)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// begin begins a run of app; the test must close it.
func begin(t *testing.T, s *logs.Store, app string) *logs.Run {
	t.Helper()
	r, err := s.Begin(t.Context(), logs.Info{App: app, Instance: "i" + app, Command: []string{"go", "run", "."}, Folder: "/src/" + app})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// write makes a whole run of the given text on stdout.
func write(t *testing.T, s *logs.Store, app, text string) int {
	t.Helper()
	r := begin(t, s, app)
	if n, err := r.Writer(logs.Stdout).Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("Write = %d, %v, want %d, nil", n, err, len(text))
	}
	r.End("exit 0")
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r.Number()
}

// segment reads one segment of a run whole.
func segment(t *testing.T, s *logs.Store, app string, run, n int) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Dir(), "default", app, fmt.Sprint(run), fmt.Sprintf("%06d.log", n)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A clock is moved by the test; the run looks at it from a goroutine of its own.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) look() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// play is what the test binary does in place of tests.
func play(part string, args []string) int {
	signal.Ignore(syscall.SIGTERM)
	s, err := logs.Open(args[0], logs.Limits{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	r, err := s.Begin(contextOfChild(), logs.Info{App: "api", Instance: "abcd"})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	switch part {
	case "killed":
		out := r.Writer(logs.Stdout)
		put(out, "first\n")
		put(out, "last words\n")
		put(out, "half a line")
		fmt.Println(r.Number())
		_, _ = io.Copy(io.Discard, os.Stdin) // until killed
	case "full":
		return playFull(args[0], r)
	}
	return 1
}

// put writes text to a run, which takes everything.
func put(w io.Writer, text string) { _, _ = io.WriteString(w, text) }

// lines is n numbered lines.
func lines(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}
