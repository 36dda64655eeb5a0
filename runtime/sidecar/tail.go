package sidecar

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
)

const (
	tailLines = 20
	// tailWidth bounds one line of a tail.
	tailWidth = 400
)

// A tail keeps the last lines of an output. Its zero value is ready.
type tail struct {
	mu    sync.Mutex // guards what follows
	lines []string
	open  []byte // the last line's beginning
}

// beside makes log write to the tail, too.
func (t *tail) beside(log func(stream string) io.Writer) func(stream string) io.Writer {
	return func(stream string) io.Writer { return io.MultiWriter(t, log(stream)) }
}

// Write implements io.Writer. Outputs that are mixed are so line by line, as far
// as they are written so.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	for {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		t.open = append(t.open, line[:min(len(line), max(0, tailWidth-len(t.open)))]...)
		if !ended {
			return n, nil
		}
		t.end()
		b = rest
	}
}

// end completes the open line. The lock is held.
func (t *tail) end() {
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, strings.TrimRight(string(t.open), "\r"))
	t.open = t.open[:0]
}

// last are the lines, the oldest first, without what only a terminal takes.
func (t *tail) last() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.open) > 0 {
		t.end()
	}
	out := make([]string, 0, len(t.lines))
	for _, line := range t.lines {
		out = append(out, strings.ReplaceAll(escapes.ReplaceAllString(line, ""), "\t", "    "))
	}
	return out
}

// escapes are a terminal's colours and movements (ECMA-48 §5.4).
var escapes = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]")
