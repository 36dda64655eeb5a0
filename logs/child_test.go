package logs_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/pillion-dev/pillion/logs"
)

func contextOfChild() context.Context { return context.Background() }

// A writer that is killed leaves all it was given, and no end.
func TestAKilledWriterLeavesAReadableRun(t *testing.T) {
	t.Parallel()
	s := open(t, logs.Limits{})
	c := exec.CommandContext(t.Context(), os.Args[0], s.Dir())
	c.Env = append(os.Environ(), "LOGS_TEST_PART=killed")
	c.Stderr = os.Stderr
	if _, err := c.StdinPipe(); err != nil { // open as long as we are
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "1\n" {
		t.Fatalf("the writer said %q, %v, want the number of its run", line, err)
	}
	if run := all(t, s)[0]; run.State != logs.Live {
		t.Errorf("while its writer lives the run is %v, want live", run.State)
	}
	// What was kept is there when a follower has seen it.
	ctx, stop := context.WithCancel(t.Context())
	err = s.Read(ctx, logs.Query{Runs: all(t, s), Follow: true}, func(l logs.Line) error {
		if string(l.Text) == "half a line" {
			stop()
		}
		return nil
	})
	if ctx.Err() == nil {
		t.Fatalf("Read = %v before the half line came", err)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // killed
	run := all(t, s)[0]
	if run.State != logs.Lost || run.End.IsZero() || run.Exit != "" {
		t.Errorf("after kill -9 the run is %v, ended %v, exit %q, want lost, with a time, without exit", run.State, run.End, run.Exit)
	}
	want(t, "Read", collect(t, s, logs.Query{}), "first", "last words", "half a line")
	if n := write(t, s, "api", fmt.Sprintln("again")); n != 2 {
		t.Errorf("the next run is %d, want 2", n)
	}
}
