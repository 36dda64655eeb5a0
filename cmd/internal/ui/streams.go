// Package ui is how pillion speaks in a terminal, and how it says the same
// facts into a pipe. It is the only importer of lipgloss. Out carries the
// answer, Err everything said about it; either may be a terminal while the
// other is a file, so each has a theme of its own.
package ui

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Streams are where a command reads and writes.
// Out carries the answer, Err everything said about it.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Getenv is the environment. Nil: an empty one.
	Getenv func(string) string
	// Name is what the program was called by, without a folder and without the
	// .exe of Windows.
	Name string
}

// OS returns the process's own streams and environment.
func OS() Streams {
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Name: calledBy(os.Args)}
}

// calledBy is the program's name in its arguments.
func calledBy(args []string) string {
	if len(args) == 0 {
		return ""
	}
	name := filepath.Base(args[0])
	if ext := filepath.Ext(name); strings.EqualFold(ext, ".exe") {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}

// A Console is a command's streams, dressed. It is made once a process and
// passed to every command.
type Console struct {
	In       io.Reader
	Out, Err *Printer
	Getenv   func(string) string
	// JSON makes errors JSON, because the answer was asked for as JSON.
	JSON bool
	// Name is what the program was called by.
	Name string

	std Streams
}

// NewConsole dresses streams as the environment asks for.
func NewConsole(std Streams) *Console {
	if std.Getenv == nil {
		std.Getenv = func(string) string { return "" }
	}
	c := &Console{In: std.In, Getenv: std.Getenv, Name: std.Name, std: std}
	c.dress(colorAuto)
	return c
}

// SetColor changes what --color says: auto, always or never. It must be called
// before anything is printed.
func (c *Console) SetColor(mode string) error {
	switch mode {
	case colorAuto, colorAlways, colorNever:
		c.dress(mode)
		return nil
	}
	return fmt.Errorf("%q is not auto, always or never", mode)
}

func (c *Console) dress(mode string) {
	c.Out = &Printer{Theme: newTheme(c.std.Out, c.Getenv, mode), w: c.std.Out}
	c.Err = &Printer{Theme: newTheme(c.std.Err, c.Getenv, mode), w: c.std.Err}
}

// Interactive reports whether a question can be asked and answered.
func (c *Console) Interactive() bool {
	in, ok := c.In.(*os.File)
	return ok && isTerminal(in) && isTerminal(c.std.Err)
}
