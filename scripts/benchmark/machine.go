package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// A machine is what the figures depend on beside the code.
type machine struct {
	Date             string
	CPU              string
	Cores            int
	MemoryGB         float64
	System           string
	Go, HAProxy, Wrk string
	Commit           string
	LoadFrom, LoadTo float64
	Rounds           string
}

// describe looks at the machine and at what is measured.
func describe(ctx context.Context, b *bench) machine {
	m := machine{
		Date:  time.Now().Format(time.DateOnly),
		CPU:   procLine("/proc/cpuinfo", "model name"),
		Cores: runtime.NumCPU(), Go: strings.TrimPrefix(runtime.Version(), "go"),
		System:   output(ctx, "uname", "-sr"),
		HAProxy:  word(output(ctx, "haproxy", "-v"), 2),
		Wrk:      word(strings.TrimPrefix(output(ctx, "wrk", "-v"), "wrk "), 0),
		Commit:   commit(ctx),
		LoadFrom: loadAverage(),
		Rounds:   b.o.duration.String(),
	}
	if kilobytes, err := strconv.ParseFloat(word(procLine("/proc/meminfo", "MemTotal"), 0), 64); err == nil {
		m.MemoryGB = kilobytes / (1 << 20)
	}
	if b.o.pillion != "" {
		m.Commit = output(ctx, b.pillion, "version")
	}
	return m
}

// commit is what the checkout is at; unknown outside of one.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// done takes note of the load at the end; ours is in it.
func (m *machine) done() { m.LoadTo = loadAverage() }

// warnings say what makes the figures doubtful.
func (m *machine) warnings() []string {
	if m.LoadFrom > 0.5 {
		return []string{fmt.Sprintf("others use this machine: its load is %.1f before we begin", m.LoadFrom)}
	}
	return nil
}

// String is one line for the documents.
func (m *machine) String() string {
	text := fmt.Sprintf("%s, commit %s: %s, %d cores, %.0f GB, %s, Go %s, HAProxy %s, wrk %s; rounds of %s",
		m.Date, m.Commit, m.CPU, m.Cores, m.MemoryGB, m.System, m.Go, m.HAProxy, m.Wrk, m.Rounds)
	if m.LoadFrom > 0.5 {
		text += fmt.Sprintf("; **others used the machine meanwhile** (load %.1f before)", m.LoadFrom)
	}
	return text
}

// procLine is the value of the first line in a /proc file that begins with
// key.
func procLine(file, key string) string {
	text, err := os.ReadFile(file) //nolint:gosec // a name in /proc
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	load, err := strconv.ParseFloat(word(string(text), 0), 64)
	if err != nil {
		return 0
	}
	return load
}

// word is the n-th word of text.
func word(text string, n int) string {
	words := strings.Fields(text)
	if n >= len(words) {
		return ""
	}
	return words[n]
}
