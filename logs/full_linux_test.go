package logs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-dev/pillion/internal/usernstest"
	"github.com/pillion-dev/pillion/logs"
)

// playFull writes more than the disk and the queue take, makes room, and goes
// on. It is what TestAFullDisk has a child do, because limits are a process's.
func playFull(dir string, r *logs.Run) int {
	full, room := limitFileSize()
	if dir := os.Getenv("LOGS_TEST_TMPFS"); dir != "" {
		full, room = fillDisk(dir)
	}
	out := r.Writer(logs.Stdout)
	put(out, "before\n")
	line := strings.Repeat("x", 99) + "\n"
	full()
	for range 80_000 { // 8 MB
		if n, err := out.Write([]byte(line)); n != 100 || err != nil {
			fmt.Printf("Write = %d, %v\n", n, err)
			return 1
		}
	}
	<-r.Failed()
	fmt.Println("problem:", r.Problem())
	room()
	for r.Lost() == 0 {
		put(out, line)
	}
	segment := filepath.Join(dir, "default", "api", "1", "000001.log")
	for {
		put(out, "after\n")
		if data, err := os.ReadFile(segment); err != nil || bytes.Contains(data, []byte(" o after\n")) {
			break
		}
		time.Sleep(10 * time.Millisecond) // until the disk is tried again
	}
	r.End("exit 0")
	if err := r.Close(contextOfChild()); err == nil {
		fmt.Println("Close says nothing of the lost lines")
		return 1
	}
	s, _ := logs.Open(dir, logs.Limits{})
	runs, err := s.Runs(logs.App{Namespace: "default", Name: "api"})
	if err != nil || len(runs) != 1 {
		fmt.Println(runs, err)
		return 1
	}
	gaps, kept := 0, 0
	err = s.Read(contextOfChild(), logs.Query{Runs: runs}, func(l logs.Line) error {
		switch text := string(l.Text); {
		case l.Stream == logs.Gap:
			gaps++
			fmt.Println("gap:", text)
		case text == strings.TrimSpace(line):
			kept++
		case text != "before" && text != "after":
			return fmt.Errorf("torn line %q", text)
		}
		return nil
	})
	fmt.Println("read:", err, "gap", gaps > 0, "kept", kept > 0, "lost", runs[0].LostLines > 0, "state", runs[0].State)
	return 0
}

// limitFileSize makes files full at 50 kB and lets them grow again.
func limitFileSize() (full, room func()) {
	set := func(n uint64) func() {
		return func() {
			limit := syscall.Rlimit{Cur: n, Max: 1 << 40}
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
				fmt.Println(err)
			}
		}
	}
	return set(50_000), set(1 << 40)
}

// fillDisk fills the file system that dir is on, and frees it again.
func fillDisk(dir string) (full, room func()) {
	ballast := filepath.Join(dir, "ballast")
	full = func() {
		f, err := os.Create(ballast)
		if err != nil {
			fmt.Println(err)
			return
		}
		chunk := make([]byte, 64<<10)
		for err == nil {
			_, err = f.Write(chunk)
		}
		_ = f.Close()
	}
	return full, func() { _ = os.Remove(ballast) }
}

const survived = "read: <nil> gap true kept true lost true state 1"

func TestAFullFileIsCountedAndRecoveredFrom(t *testing.T) {
	t.Parallel()
	c := exec.CommandContext(t.Context(), os.Args[0], filepath.Join(t.TempDir(), "logs"))
	c.Env = append(os.Environ(), "LOGS_TEST_PART=full")
	out, err := c.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(survived)) || !bytes.Contains(out, []byte("file too large")) {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestAFullDiskIsCountedAndRecoveredFrom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := `mount -t tmpfs -o size=16m tmpfs "$1" && exec "$2" "$1/logs"`
	c := exec.CommandContext(t.Context(), "sh", "-c", script, "sh", dir, os.Args[0])
	c.Env = append(os.Environ(), "LOGS_TEST_PART=full", "LOGS_TEST_TMPFS="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		c.SysProcAttr = usernstest.Attr(0, syscall.CLONE_NEWNS)
	}
	out, err := c.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Log("no mount namespace to be had; the full file stands for the full disk")
		return
	}
	if err != nil || !bytes.Contains(out, []byte(survived)) || !bytes.Contains(out, []byte("no space left on device")) {
		t.Errorf("%v:\n%s", err, out)
	}
}
