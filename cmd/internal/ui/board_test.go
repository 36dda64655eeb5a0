package ui

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-dev/pillion/internal/within"
)

// aBoard is a board of two apps on a terminal of a width, or in a pipe.
func aBoard(t *testing.T, tty bool, width int) (*Board, *lockedBuffer) {
	t.Helper()
	out := &lockedBuffer{}
	p := NewPrinter(out, func(string) string { return "" })
	p.TTY, p.Live, p.Unicode, p.Width = tty, tty, tty, width
	return NewBoard(BoardOptions{Err: p, Names: []string{"api", "worker"}, Footer: tty}), out
}

type lockedBuffer struct {
	mu sync.Mutex // guards what follows
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestHalfLinesOfTwoAppsAreNotMixed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // a half line is shown after a moment
		b, out := aBoard(t, false, 80)
		defer b.Close()
		api, worker := b.Speaker("api", true).Stream(true), b.Speaker("worker", true).Stream(false)
		for _, w := range []struct {
			to   io.Writer
			text string
		}{{api, "GET "}, {worker, "con"}, {api, "/tasks\nPO"}, {worker, "nected\n"}, {api, "ST\n"}} {
			if _, err := io.WriteString(w.to, w.text); err != nil {
				t.Fatal(err)
			}
		}
		if want := "api | GET /tasks\nworker | connected\napi | POST\n"; out.String() != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
}

func TestALineWithoutAnEndIsShownAfterAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, out := aBoard(t, false, 80)
		defer b.Close()
		feed := b.Speaker("api", true).Stream(true)
		say := func(text string) { _, _ = io.WriteString(feed, text) }
		say("name? ")
		if out.String() != "" {
			t.Errorf("shown at once: %q", out)
		}
		time.Sleep(2 * halfLine)
		synctest.Wait()
		say("\nAda\n")
		say("10%\r20%\r")
		time.Sleep(2 * halfLine)
		synctest.Wait()
		say("30%\n")
		if want := "api | name? \napi | Ada\napi | 30%\n"; out.String() != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
}

func TestWhatIsLeftOfALineIsShownWhenItsAppHasEnded(t *testing.T) {
	t.Parallel()
	b, out := aBoard(t, false, 80)
	defer b.Close()
	feed := b.Speaker("api", true).Stream(true)
	_, _ = io.WriteString(feed, "no newline")
	feed.Flush()
	if want := "api | no newline\n"; out.String() != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestAVeryLongLineIsShownInParts(t *testing.T) {
	t.Parallel()
	b, out := aBoard(t, false, 80)
	defer b.Close()
	long := strings.Repeat("x", 3*maxHeldLine)
	if _, err := io.WriteString(b.Speaker("api", true).Stream(true), long+"\n"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "x"); got != len(long) {
		t.Errorf("%d of %d letters are shown", got, len(long))
	}
}

func TestLastLinesAreKeptWhereNobodySeesThem(t *testing.T) {
	t.Parallel()
	b, out := aBoard(t, false, 80)
	defer b.Close()
	quiet, loud := b.Speaker("api", false), b.Speaker("worker", true)
	_, _ = io.WriteString(quiet.Stream(true), "one\ntwo\n")
	if out.String() != "" {
		t.Errorf("what goes to a file is shown: %q", out)
	}
	if got := bytes.Join(quiet.Last(), []byte("|")); string(got) != "one|two" {
		t.Errorf("last lines %q", got)
	}
	_, _ = io.WriteString(loud.Stream(true), "seen\n")
	if got := loud.Last(); got != nil {
		t.Errorf("lines in sight are repeated: %q", got)
	}
	for range outOfSight {
		quiet.Say("filler")
	}
	if got := bytes.Join(loud.Last(), nil); string(got) != "seen" {
		t.Errorf("lines out of sight are not repeated: %q", got)
	}
}

func TestTheBottomRowStaysBelowEverything(t *testing.T) {
	t.Parallel()
	b, out := aBoard(t, true, 80)
	b.Footer([]FooterPart{{Mark: MarkOK, Name: "api"}, {Name: "worker", Word: "starting"}})
	feed := b.Speaker("api", true).Stream(true)
	within.Until(t, "the row to be shown", func() bool { return strings.Contains(out.String(), "✓ api   worker starting") })
	_, _ = io.WriteString(feed, "hello\n")
	b.Say(func(p *Printer) { p.Say(NoMark, "all is well") })
	b.Close()
	shown := out.String()
	row := "✓ api   worker starting"
	want := row + eraseRow + "api    │ hello\n" + row + eraseRow + "pillion: all is well\n" + row + eraseRow
	if !strings.HasSuffix(shown, want) {
		t.Errorf("got  %q,\nwant %q at the end", shown, want)
	}
}

func TestTheBottomRowCountsThoseThatAreWellWhereThereIsNoRoom(t *testing.T) {
	t.Parallel()
	b, _ := aBoard(t, true, 30)
	defer b.Close()
	theme := b.sides[0].view.theme
	parts := []FooterPart{
		{Mark: MarkOK, Name: "todo-api"},
		{Mark: MarkFailed, Name: "worker", Word: "exit 1"},
		{Mark: MarkOK, Name: "notification-service"},
	}
	if got, want := theme.footer(parts), "✓ 2 apps   ✗ worker exit 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	theme.Width = 20
	if got := theme.footer(parts); Cells(got) > 19 {
		t.Errorf("%q has %d columns, 19 fit", got, Cells(got))
	}
}

func TestAnAppHearsThatNobodyReadsAnyMore(t *testing.T) {
	t.Parallel()
	gone := errors.New("broken pipe")
	p := NewPrinter(failingWriter{gone}, func(string) string { return "" })
	b := NewBoard(BoardOptions{Err: p, Names: []string{"api"}})
	defer b.Close()
	if _, err := io.WriteString(b.Speaker("api", true).Stream(true), "hello\n"); !errors.Is(err, gone) {
		t.Errorf("Write = %v, want %v", err, gone)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
