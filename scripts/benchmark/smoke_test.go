//go:build bench

// What follows measures for some seconds, so that it is not an everyday test:
//
//	go test -tags bench ./scripts/benchmark

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program builds the benchmark and runs it in the checkout with a temporary
// folder of its own.
func program(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	tmp = t.TempDir()
	bin := filepath.Join(t.TempDir(), "bench")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd = exec.Command(bin, args...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	return cmd, tmp
}

func TestAShortRunMeasuresAllThree(t *testing.T) {
	file := filepath.Join(t.TempDir(), "figures.json")
	cmd, tmp := program(t, "--connections", "2", "--bodies", "54", "--rounds", "1", "--duration", "1s", "--json", file)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c comparison
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Results) != 2 || len(c.Variants.Series) < 3 {
		t.Fatalf("%d results with %d variants, want 2 with at least 3\n%s", len(c.Results), len(c.Variants.Series), out)
	}
	for _, r := range append(c.Results, c.Variants) {
		for _, s := range r.Series {
			if one := s.Samples[0]; one.Calls == 0 || one.Failed > 0 || one.P50 > one.P99 || s.Subject != nameDirect && one.ProxyCPU <= 0 {
				t.Errorf("%s, %s: %+v", r.Scenario, s.Subject, one)
			}
		}
	}
	nothingLeft(t, tmp)
}

func TestAnInterruptLeavesNothing(t *testing.T) {
	cmd, tmp := program(t, "--quick")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(2 * time.Minute)
	for len(descendants(t, cmd.Process.Pid)) < 7 { // the load is running: a wrk beside the others
		if time.Now().After(deadline) {
			t.Fatal("it did not come to measure anything")
		}
		time.Sleep(100 * time.Millisecond)
	}
	started := descendants(t, cmd.Process.Pid)
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("it ended with %v, want status 130", err)
	}
	for _, pid := range started {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("process %d is left", pid)
		}
	}
	nothingLeft(t, tmp)
}

// What was measured before an interrupt is printed and written.
func TestAnInterruptLosesNoFigures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "figures.json")
	cmd, _ := program(t, "--connections", "2,3", "--bodies", "54", "--rounds", "1", "--duration", "1s", "--json", file)
	cmd.Stderr = nil
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if strings.Contains(lines.Text(), "pillion ÷ HAProxy") {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("it ended with %v, want status 130", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c comparison
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Results) == 0 || !strings.Contains(out.String(), "## HTTP") {
		t.Errorf("%d results are written, and printed: %s", len(c.Results), out.String())
	}
}

func descendants(t *testing.T, root int) []int {
	t.Helper()
	parents, err := parentsOf()
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for pid := range parents {
		if pid != root && below(parents, pid, root) {
			out = append(out, pid)
		}
	}
	return out
}

// nothingLeft checks that no folder and no process of the run is there.
func nothingLeft(t *testing.T, tmp string) {
	t.Helper()
	names, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		t.Errorf("%s is left", n.Name())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "pgrep", "-f", tmp).Output()
	for _, pid := range strings.Fields(string(out)) {
		if n, err := strconv.Atoi(pid); err == nil && n != os.Getpid() {
			t.Errorf("process %d is left", n)
		}
	}
}
