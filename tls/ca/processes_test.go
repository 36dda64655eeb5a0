package ca_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-dev/pillion/internal/within"
	"github.com/pillion-dev/pillion/tls/ca"
)

const (
	ensureEnv = "CA_TEST_ENSURE"
	mountEnv  = "CA_TEST_MOUNT"
)

// TestMain makes the test binary a program that ensures a CA and says which.
func TestMain(m *testing.M) {
	dir := os.Getenv(ensureEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := mountOver(dir, os.Getenv(mountEnv)); err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	c, made, err := ca.Ensure(context.Background(), dir, ca.Options{})
	if err != nil {
		fmt.Println(err)
		entries, _ := os.ReadDir(dir)
		fmt.Println(len(entries), "files")
		os.Exit(1)
	}
	fmt.Println(c.Fingerprint(), c.Member(), made)
}

func TestProcessesRacingOnAFreshFolderGetOneCA(t *testing.T) {
	t.Parallel()
	for range 3 {
		dir := filepath.Join(t.TempDir(), "home", "certs")
		outputs := make([]string, 8)
		var all sync.WaitGroup
		for i := range outputs {
			all.Go(func() {
				out, err := program(t, dir).CombinedOutput()
				if err != nil {
					t.Errorf("process %d: %v: %s", i, err, out)
				}
				outputs[i] = string(bytes.TrimSpace(out))
			})
		}
		all.Wait()
		made, names := 0, map[string]bool{}
		for _, out := range outputs {
			name, how, _ := cutLast(out)
			names[name] = true
			if how == "true" {
				made++
			}
		}
		if len(names) != 1 || made != 1 {
			t.Errorf("%d made a CA, and there are %d: %v", made, len(names), outputs)
		}
	}
}

// A maker that is killed at any moment leaves what the next one can use.
func TestKilledMakersLeaveNothingBroken(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	for range 12 {
		cmd := program(t, dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		// Killed when the folder shows the first sign of it, whatever it is
		// doing by then.
		for empty(dir) {
			select {
			case err := <-ended:
				if empty(dir) { // it may have begun and ended since we looked
					t.Fatalf("the maker ended and made nothing: %v", err)
				}
				ended <- err
			default:
			}
		}
		_ = cmd.Process.Kill()
		if err := within.Receive(t, ended); err == nil {
			t.Log("the maker was faster than the kill")
		}
		ensure(t, dir, ca.Options{})
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func empty(dir string) bool {
	entries, _ := os.ReadDir(dir)
	return len(entries) == 0
}

func program(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), ensureEnv+"="+dir)
	return cmd
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}
