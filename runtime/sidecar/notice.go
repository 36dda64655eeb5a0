package sidecar

import "strings"

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
	// Text is the sentence; Facts follow it, in a fixed order.
	Text  string
	Facts []string
	// Cause and Hint are the rows of a warning.
	Cause, Hint string
}

// String is the notice on one line, as a pipe and the log show it.
func (n Notice) String() string {
	var b strings.Builder
	if n.Kind == Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(n.Text)
	for _, fact := range n.Facts {
		b.WriteString(", " + fact)
	}
	if n.Cause != "" {
		b.WriteString("; cause: " + n.Cause)
	}
	if n.Hint != "" {
		b.WriteString("; hint: " + n.Hint)
	}
	return b.String()
}
