package sidecar

import (
	"slices"
	"strings"
)

// A NoticeKind is how much a person needs to look.
type NoticeKind uint8

// The kinds. Only Warning and Failed ask for attention.
const (
	Info NoticeKind = iota
	Good
	Warning
	Failed
)

// A Notice is one of the few lines a sidecar says about itself. The command
// dresses it for its stream; the run's log keeps it plain.
type Notice struct {
	Kind NoticeKind
	// Record means that it is a record of a log, such as one for each call, and
	// not one of those few.
	Record bool
	// Text is the sentence; Facts follow it, in a fixed order, and More follow
	// those, on a row of their own where one row does not take all.
	Text  string
	Facts []string
	More  []string
	// Aside is a fact for whoever sits in front of the app: no log keeps it.
	Aside string
	// Up is true once the app, or its sidecar alone, is ready for use.
	Up bool
	// Lines are what is quoted below it, such as an app's last ones. The log has
	// them already.
	Lines []string
	// Cause and Hint are the rows of a warning.
	Cause, Hint string
}

// String is the notice on one line, as the log keeps it: with its sign, and
// with ` · ` between facts, so that who shows it can tell them apart.
func (n Notice) String() string {
	var b strings.Builder
	switch n.Kind {
	case Good:
		b.WriteString("✓ ")
	case Failed:
		b.WriteString("✗ ")
	case Warning:
		b.WriteString("warning: ")
	case Info:
	}
	b.WriteString(strings.Join(slices.Concat([]string{n.Text}, n.Facts, n.More), " · "))
	if n.Cause != "" {
		b.WriteString("; cause: " + n.Cause)
	}
	if n.Hint != "" {
		b.WriteString("; hint: " + n.Hint)
	}
	return b.String()
}
