package filelock_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/filelock"
	"github.com/pillion-dev/pillion/internal/within"
)

const lockEnv = "FILELOCK_TEST_LOCK"

// TestMain makes the test binary a program that takes a lock, says so, and
// keeps it until it is killed or its standard input ends.
func TestMain(m *testing.M) {
	path := os.Getenv(lockEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	if _, err := filelock.TryLock(path); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("locked")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	os.Exit(0)
}

func TestTryLockExcludesAnotherHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l")
	first, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := filelock.TryLock(path); !errors.Is(err, filelock.ErrLocked) {
		t.Errorf("TryLock of a held lock = %v, want ErrLocked", err)
	}
	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	second, err := filelock.TryLock(path)
	if err != nil {
		t.Fatalf("TryLock of a released lock = %v", err)
	}
	if err := second.Unlock(); err != nil {
		t.Error(err)
	}
	if err := second.Unlock(); err == nil {
		t.Error("the second Unlock returned no error")
	}
}

func TestHeldFollowsTheHolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l")
	held := func(want bool) {
		t.Helper()
		if got, err := filelock.Held(path); err != nil || got != want {
			t.Errorf("Held = %v, %v, want %v", got, err, want)
		}
	}
	held(false)
	if _, err := os.Lstat(path); err == nil {
		t.Error("Held made the file")
	}
	l, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	held(true)
	_ = l.Unlock()
	held(false)
}

func TestLockEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l")
	owner := hold(t, path)
	if held, err := filelock.Held(path); err != nil || !held {
		t.Fatalf("Held = %v, %v while another process holds it", held, err)
	}
	got := make(chan error, 1)
	go func() {
		l, err := filelock.Lock(t.Context(), path)
		if err == nil {
			err = l.Unlock()
		}
		got <- err
	}()
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := within.Receive(t, got); err != nil {
		t.Errorf("Lock after the owner was killed = %v", err)
	}
}

func TestLockIsNotInheritedByChildren(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l")
	l, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	child := hold(t, path+".other") // runs on while ours is released
	_ = l.Unlock()
	if held, err := filelock.Held(path); err != nil || held {
		t.Errorf("Held = %v, %v although only a child of the former owner runs", held, err)
	}
	_ = child.Process.Kill()
}

func TestLockGivesUpWithTheContext(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l")
	l, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Unlock() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := filelock.Lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock = %v, want the deadline", err)
	}
}

// A probe takes a shared lock for a moment. It must not look like an owner.
func TestTryLockGetsPastProbes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l")
	ctx, cancel := context.WithCancel(t.Context())
	probing := make(chan error, 4)
	for range cap(probing) {
		go func() {
			for ctx.Err() == nil {
				if _, err := filelock.Held(path); err != nil {
					probing <- err
					return
				}
			}
			probing <- nil
		}()
	}
	for range 200 {
		l, err := filelock.TryLock(path)
		if err != nil {
			t.Errorf("TryLock beside probes = %v", err)
			break
		}
		_ = l.Unlock()
	}
	cancel()
	for range cap(probing) {
		if err := within.Receive(t, probing); err != nil {
			t.Error(err)
		}
	}
}

func TestLockOfARemovedFileExcludesNobody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "l")
	old, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = old.Unlock() }()
	if err := os.Remove(path); err != nil {
		t.Skipf("a held file cannot be removed here: %v", err)
	}
	l, err := filelock.TryLock(path)
	if err != nil {
		t.Fatalf("TryLock of a new file of the same name = %v", err)
	}
	defer func() { _ = l.Unlock() }()
	if held, err := filelock.Held(path); err != nil || !held {
		t.Errorf("Held = %v, %v, want true", held, err)
	}
}

func TestLockSaysWhatItCannotOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none", "l")
	if _, err := filelock.Lock(t.Context(), path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Lock in no folder = %v, want it to be ErrNotExist", err)
	}
}

// hold starts a process that holds path and returns when it does.
func hold(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), lockEnv+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	return cmd
}
