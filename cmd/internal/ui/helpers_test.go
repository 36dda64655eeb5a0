package ui

import (
	"bytes"
	"testing"

	"github.com/muesli/termenv"
)

// screen is a printer as a terminal of that width has it, without colours so
// that tests can read it.
func screen(t *testing.T, width int) (*Printer, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	p := NewPrinter(&out, env(nil))
	p.TTY, p.Unicode, p.Width = true, true, width
	p.renderer.SetColorProfile(termenv.Ascii)
	return p, &out
}

// pipe is a printer into something that is no terminal.
func pipe(t *testing.T) (*Printer, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	return NewPrinter(&out, env(nil)), &out
}

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}
