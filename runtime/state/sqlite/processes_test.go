package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/state/sqlite"
	"github.com/pillion-dev/pillion/runtime/state/statetest"
)

// A child is this test binary as another program that shares the file.
const (
	childRole = "PILLION_TEST_SQLITE_ROLE"
	childFile = "PILLION_TEST_SQLITE_FILE"
	childFrom = "PILLION_TEST_SQLITE_FROM"
)

const (
	increments = 25   // of each child that counts
	writes     = 1000 // of the child that is killed
)

func TestMain(m *testing.M) {
	role := os.Getenv(childRole)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := child(context.Background(), role); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(ctx context.Context, role string) error {
	s := sqlite.New(sqlite.Config{Path: os.Getenv(childFile), Timeout: patient, Busy: patient})
	if role == "count" {
		for range increments {
			if err := statetest.Increment(ctx, s, "n"); err != nil {
				return err
			}
		}
		return s.Close()
	}
	from, err := strconv.Atoi(os.Getenv(childFrom))
	if err != nil {
		return err
	}
	for i := from; i < writes; i++ {
		text := strconv.Itoa(i)
		err := s.Transact(ctx, []state.Operation{
			{Set: &state.Set{Key: "left " + text, Value: []byte(text)}},
			{Set: &state.Set{Key: "right " + text, Value: []byte(text)}},
		})
		if err != nil {
			return err
		}
		if _, err := os.Stdout.WriteString(text + "\n"); err != nil { // acknowledged
			return err
		}
	}
	return s.Close()
}

func start(t *testing.T, role, file string, from int) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role, childFile+"="+file, childFrom+"="+strconv.Itoa(from))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// All of them read, and write what follows from it. A lost update, or a lock
// that is not waited for, would be seen.
func TestEightProcessesCountTogether(t *testing.T) {
	t.Parallel()
	const processes = 8
	file := filepath.Join(t.TempDir(), "state.db") // which they make together
	var wg sync.WaitGroup
	for range processes {
		cmd, _ := start(t, "count", file, 0)
		wg.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Errorf("a process that counts: %v", err)
			}
		})
	}
	wg.Wait()
	s := open(t, sqlite.Config{Path: file})
	if got, want := string(statetest.Read(t, s, "n").Value), strconv.Itoa(processes*increments); got != want {
		t.Errorf("counted to %s, want %s", got, want)
	}
}

// A process is killed again and again in the middle of 1,000 writes, while
// another reads the same file. What was acknowledged is there, whole, and
// nothing is there by half.
func TestKilledInTheMiddleOfAThousandWrites(t *testing.T) {
	t.Parallel()
	kills := 8
	if os.Getenv("PILLION_LONG") != "" {
		kills = 200
	}
	file := filepath.Join(t.TempDir(), "state.db")
	beside := open(t, sqlite.Config{Path: file})
	acknowledged := 0
	for kill := 0; acknowledged < writes; kill++ {
		cmd, lines := start(t, "write", file, acknowledged)
		until := writes
		if kill < kills {
			until = (kill + 1) * writes / (kills + 1)
		}
		for acknowledged < until && lines.Scan() {
			n, err := strconv.Atoi(lines.Text())
			if err != nil || n != acknowledged {
				t.Fatalf("acknowledged %q after %d: %v", lines.Text(), acknowledged, err)
			}
			acknowledged++
		}
		if acknowledged < until {
			t.Fatalf("the process ended by itself after %d writes: %v", acknowledged, cmd.Wait())
		}
		_ = cmd.Process.Kill() // at the end it may be gone
		// What it acknowledged before it died counts, too.
		for lines.Scan() {
			acknowledged++
		}
		_ = cmd.Wait() // killed
		checkWrites(t, beside, acknowledged)
	}
	if verdict, err := sqlite.Check(t.Context(), beside); err != nil || verdict != "ok" {
		t.Errorf("integrity: %s, %v", verdict, err)
	}
}

func checkWrites(t *testing.T, s *sqlite.Store, acknowledged int) {
	t.Helper()
	var gets []state.Get
	for i := range min(acknowledged+2, writes) {
		text := strconv.Itoa(i)
		gets = append(gets, state.Get{Key: "left " + text}, state.Get{Key: "right " + text})
	}
	items, err := s.BulkGet(t.Context(), gets)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(items); i += 2 {
		left, right := items[i], items[i+1]
		if left.Exists() != right.Exists() {
			t.Errorf("write %d is there by half", i/2)
		}
		if i/2 < acknowledged && string(left.Value) != strconv.Itoa(i/2) {
			t.Errorf("write %d was acknowledged, and is %q", i/2, left.Value)
		}
	}
}
