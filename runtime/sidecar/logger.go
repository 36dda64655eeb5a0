package sidecar

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// logLevel is what --log-level says. Without it only what a person should look
// at is shown: our lines are few.
func logLevel(given string) slog.Level {
	switch given {
	case "debug":
		return slog.LevelDebug
	case "info":
		return slog.LevelInfo
	case "error", "fatal":
		return slog.LevelError
	default:
		return slog.LevelWarn
	}
}

// logNotices is a slog.Handler whose records are notices: in the terminal and
// in the run's log like every other line of ours.
type logNotices struct {
	say    func(Notice)
	least  slog.Level
	prefix string // of the attributes' names, from WithGroup
	attrs  string // rendered, from WithAttrs
}

var _ slog.Handler = logNotices{}

// Enabled implements slog.Handler.
func (h logNotices) Enabled(_ context.Context, level slog.Level) bool { return level >= h.least }

// Handle implements slog.Handler.
func (h logNotices) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString(h.render(a))
		return true
	})
	n := Notice{Record: true, Text: b.String()}
	switch {
	case r.Level >= slog.LevelWarn:
		n.Kind, n.Record = Warning, false
	case r.Level < slog.LevelInfo:
		n.Text = "debug: " + n.Text
	}
	h.say(n)
	return nil
}

// WithAttrs implements slog.Handler.
func (h logNotices) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += h.render(a)
	}
	return h
}

// WithGroup implements slog.Handler.
func (h logNotices) WithGroup(name string) slog.Handler {
	h.prefix += name + "."
	return h
}

func (h logNotices) render(a slog.Attr) string {
	value := a.Value.Resolve().String()
	if strings.ContainsAny(value, " \t\n\"=") || value == "" {
		value = fmt.Sprintf("%q", value)
	}
	return " " + h.prefix + a.Key + "=" + value
}
