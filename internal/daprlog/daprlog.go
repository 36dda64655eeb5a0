// Package daprlog writes log records as Dapr's sidecar does, in its text form
// and in its JSON form, so that what reads daprd's log reads ours.
package daprlog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Scope is the name of the attribute that says which part speaks. A record
// without one is of DefaultScope.
const (
	Scope        = "scope"
	DefaultScope = "dapr.runtime"
)

// LevelFatal is the level of what ends the process.
const LevelFatal = slog.LevelError + 4

// Options say whose log it is and how it looks.
type Options struct {
	// AppID, Instance and Version are in every record. An empty AppID is left
	// out.
	AppID, Instance, Version string
	// JSON is one object a line, in place of text.
	JSON bool
	// Least is the lowest level that is written.
	Least slog.Level
}

// A Handler writes records, each in one Write. It is safe for concurrent use.
type Handler struct {
	out    *output
	json   bool
	least  slog.Level
	prefix string // of the attributes' names, from WithGroup
	fields map[string]any
}

// output is where the records of a Handler and of all made from it go.
type output struct {
	mu sync.Mutex // held while a record is written
	w  io.Writer
}

var _ slog.Handler = (*Handler)(nil)

// New returns a Handler that writes to w.
func New(w io.Writer, o Options) *Handler {
	fields := map[string]any{"instance": o.Instance, "type": "log", "ver": o.Version, Scope: DefaultScope}
	if o.AppID != "" {
		fields["app_id"] = o.AppID
	}
	return &Handler{out: &output{w: w}, json: o.JSON, least: o.Least, fields: fields}
}

// Also returns a Handler like h that writes to w, too. What is written by h
// itself does not reach w.
func (h *Handler) Also(w io.Writer) *Handler {
	also := *h
	also.out = &output{w: both{h.out, w}}
	return &also
}

// Say writes one of Dapr's own sentences, for a scope; "" is DefaultScope. A nil
// Handler writes nothing. What cannot be written is nobody's to tell.
func (h *Handler) Say(level slog.Level, scope, sentence string, attrs ...slog.Attr) {
	if h == nil || level < h.least {
		return
	}
	r := slog.NewRecord(time.Now(), level, sentence, 0)
	if scope != "" {
		r.AddAttrs(slog.String(Scope, scope))
	}
	r.AddAttrs(attrs...)
	_ = h.record(r)
}

// From returns a Handler like h that writes records from another level on.
func (h *Handler) From(least slog.Level) *Handler {
	from := *h
	from.least = least
	return &from
}

// both writes to a handler's output, in its turn, and to another writer.
type both struct {
	first  *output
	second io.Writer
}

func (b both) Write(p []byte) (int, error) {
	err := b.first.write(p)
	if _, also := b.second.Write(p); err == nil {
		err = also
	}
	return len(p), err
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.least }

// Handle implements slog.Handler.
func (h *Handler) Handle(_ context.Context, r slog.Record) error { return h.record(r) }

func (h *Handler) record(r slog.Record) error {
	fields := maps.Clone(h.fields)
	r.Attrs(func(a slog.Attr) bool {
		add(fields, h.prefix, a)
		return true
	})
	line := text(r, fields)
	if h.json {
		line = object(r, fields)
	}
	return h.out.write(line)
}

func (o *output) write(line []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, err := o.w.Write(line)
	return err
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.fields = maps.Clone(h.fields)
	for _, a := range attrs {
		add(with.fields, h.prefix, a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	with := *h
	with.prefix += name + "."
	return &with
}

// add adds an attribute; of two with the same name the last one counts.
func add(fields map[string]any, prefix string, a slog.Attr) {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, one := range value.Group() {
			add(fields, prefix, one)
		}
		return
	}
	if a.Key == "" {
		return
	}
	switch value.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindBool:
		fields[prefix+a.Key] = value.Any()
	default:
		fields[prefix+a.Key] = value.String()
	}
}

func stamp(r slog.Record) string { return r.Time.Format(time.RFC3339Nano) }

func level(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warning"
	case l < LevelFatal:
		return "error"
	}
	return "fatal"
}

// text is the record as fields: time, level and msg first, the others in the
// order of their names.
func text(r slog.Record, fields map[string]any) []byte {
	var b bytes.Buffer
	b.WriteString("time=" + quoted(stamp(r)) + " level=" + level(r.Level) + " msg=" + quoted(r.Message))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		b.WriteString(" " + name + "=" + quoted(fmt.Sprint(fields[name])))
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// quoted is s, in quotes if it holds more than what a plain value may.
func quoted(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-._/@^+", c)
	}
	for _, c := range s {
		if !plain(c) {
			return strconv.Quote(s)
		}
	}
	return s
}

// object is the record as JSON, in the order of the names.
func object(r slog.Record, fields map[string]any) []byte {
	fields["time"], fields["level"], fields["msg"] = stamp(r), level(r.Level), r.Message
	line, err := json.Marshal(fields)
	if err != nil { // a number that JSON does not have
		for name, value := range fields {
			fields[name] = fmt.Sprint(value)
		}
		line, _ = json.Marshal(fields) // strings always marshal
	}
	return append(line, '\n')
}
