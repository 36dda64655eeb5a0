package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A table is written as Markdown. Its first column is text, the others are
// figures.
type table struct {
	strings.Builder
}

func newTable(columns ...string) *table {
	t := &table{}
	t.row(columns...)
	t.row(append([]string{"---"}, repeat("---:", len(columns)-1)...)...)
	return t
}

func (t *table) row(cells ...string) {
	_, _ = fmt.Fprintf(t, "| %s |\n", strings.Join(cells, " | ")) // a builder takes everything
}

func repeat(text string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = text
	}
	return out
}

// markdown is everything there is to say.
func (c *comparison) markdown() string {
	var out strings.Builder
	for _, part := range []struct{ title, text string }{
		{"Machine", c.Machine.String() + "\n"},
		{"Targets", c.targets()},
		{"HTTP", c.protocolTable(protoHTTP)},
		{"gRPC", c.protocolTable(protoGRPC)},
		{"HTTP beside gRPC", c.besideGRPC()},
		{"Where the CPU of a call goes", c.cpuTable()},
		{"Memory", c.memoryTable()},
		{"Variants", c.variantTable()},
	} {
		if part.text != "" {
			_, _ = fmt.Fprintf(&out, "## %s\n\n%s\n", part.title, part.text) // as above
		}
	}
	return out.String()
}

// protocolTable is every scenario of a protocol with every subject.
func (c *comparison) protocolTable(proto string) string {
	t := newTable("body, connections", "", "calls/s", "p50", "p90", "p99", "CPU/call", "memory",
		"calls/s ÷ HAProxy", "CPU ÷", "p50 ÷", "p99 ÷")
	rows := 0
	for _, r := range c.Results {
		if r.Scenario.Proto != proto {
			continue
		}
		for i, s := range r.Series {
			name := ""
			if i == 0 {
				name = r.Scenario.inTable()
			}
			t.row(append([]string{name, subjectText(s)}, r.cells(s)...)...)
			rows++
		}
	}
	if rows == 0 {
		return ""
	}
	return t.String()
}

func (s scenario) inTable() string {
	text := fmt.Sprintf("%s, %d", s.shape, s.Connections)
	if s.Streams > 1 {
		text += fmt.Sprintf(" × %d calls", s.Streams)
	}
	return text
}

// subjectText names a subject, and says if some of its calls failed.
func subjectText(s series) string {
	name := s.Subject
	if name == namePillion {
		name = "**pillion**"
	}
	if n := s.failed(); n > 0 {
		name += fmt.Sprintf(" (%d failed)", n)
	}
	return name
}

// cells are the figures of a subject, with ratios to HAProxy.
func (r result) cells(s series) []string {
	out := []string{
		count(s.figure(rate)), times(s.figure(p50)), times(s.figure(p90)), times(s.figure(p99)),
	}
	if s.Subject == nameDirect {
		return append(out, repeat("", 6)...)
	}
	out = append(out, times(s.figure(proxyCPU)), megabytes(s.figure(resident)))
	if s.Subject == nameHAProxy {
		return append(out, repeat("1", 4)...)
	}
	for _, field := range []func(sample) float64{rate, proxyCPU, p50, p99} {
		out = append(out, ratioText(r.ratio(s.Subject, nameHAProxy, field)))
	}
	return out
}

// besideGRPC compares the protocols at the same payload.
func (c *comparison) besideGRPC() string {
	t := newTable("54 B", "", "HTTP calls/s", "gRPC calls/s", "HTTP p50", "gRPC p50", "HTTP p99", "gRPC p99", "HTTP CPU/call", "gRPC CPU/call")
	rows := 0
	for _, n := range []int{1, 32} {
		h, g := c.find(scenario{protoHTTP, shape{Up: 54}, n, 1}), c.find(scenario{protoGRPC, shape{Up: 54}, n, 1})
		if h == nil || g == nil {
			continue
		}
		first := fmt.Sprintf("%d %s", n, plural(n, "connection"))
		for _, name := range []string{nameDirect, nameHAProxy, namePillion} {
			t.row(append([]string{first, subjectText(series{Subject: name})}, beside(h.of(name), g.of(name))...)...)
			first = ""
			rows++
		}
	}
	if rows == 0 {
		return ""
	}
	return t.String()
}

// beside are the same figures of two series, in pairs.
func beside(a, b series) []string {
	var cells []string
	for _, f := range []struct {
		field func(sample) float64
		text  func(figure) string
	}{{rate, count}, {p50, times}, {p99, times}} {
		cells = append(cells, f.text(a.figure(f.field)), f.text(b.figure(f.field)))
	}
	if a.Subject == nameDirect { // there are no proxies
		return append(cells, "", "")
	}
	return append(cells, times(a.figure(proxyCPU)), times(b.figure(proxyCPU)))
}

// cpuTable shows that neither the load nor the app is what is measured.
func (c *comparison) cpuTable() string {
	t := newTable("54 B, 32 connections", "", "proxies", "app", "load generator", "cores busy")
	rows := 0
	for _, proto := range []string{protoHTTP, protoGRPC} {
		r := c.find(scenario{proto, shape{Up: 54}, 32, 1})
		if r == nil {
			continue
		}
		for _, s := range r.Series {
			proxies, app, load := s.figure(proxyCPU), s.figure(appCPU), s.figure(loadCPU)
			busy := (proxies.Median + app.Median + load.Median) * s.figure(rate).Median / 1e6
			t.row(proto, subjectText(s), times(proxies), times(app), times(load), strconv.FormatFloat(busy, 'f', 1, 64))
			rows++
		}
	}
	if rows == 0 {
		return ""
	}
	return t.String()
}

// memoryTable is what the proxies hold at rest and under load.
func (c *comparison) memoryTable() string {
	if len(c.Idle) == 0 {
		return ""
	}
	columns := []string{"both hops", "protocol", "at rest", "of it private"}
	counts := []int{32, 256}
	for _, n := range counts {
		columns = append(columns, fmt.Sprintf("%d connections", n))
	}
	t := newTable(columns...)
	for _, i := range c.Idle {
		cells := []string{subjectText(series{Subject: i.Subject}), i.Proto, megabytesText(float64(i.Memory.Resident) / (1 << 20)), megabytesText(float64(i.Memory.Private) / (1 << 20))}
		for _, n := range counts {
			text := ""
			if r := c.find(scenario{i.Proto, shape{Up: 54}, n, 1}); r != nil {
				text = megabytes(r.of(i.Subject).figure(resident))
			}
			cells = append(cells, text)
		}
		t.row(cells...)
	}
	return t.String()
}

// variantTable compares pillion's variants with its default.
func (c *comparison) variantTable() string {
	if len(c.Variants.Series) == 0 {
		return ""
	}
	t := newTable("54 B, 32 connections", "calls/s", "p50", "p99", "CPU/call", "calls/s ÷ HAProxy", "calls/s ÷ default", "CPU ÷ default")
	for _, s := range c.Variants.Series {
		name := subjectText(s)
		if s.Subject != nameHAProxy && s.Subject != namePillion {
			name = "… with " + name
		}
		cells := []string{name, count(s.figure(rate)), times(s.figure(p50)), times(s.figure(p99)), times(s.figure(proxyCPU))}
		for _, q := range []struct {
			base  string
			field func(sample) float64
		}{{nameHAProxy, rate}, {namePillion, rate}, {namePillion, proxyCPU}} {
			cells = append(cells, ratioText(c.Variants.ratio(s.Subject, q.base, q.field)))
		}
		t.row(cells...)
	}
	var notes strings.Builder
	for _, n := range c.Notes {
		notes.WriteString("- " + n + "\n")
	}
	if notes.Len() > 0 {
		return t.String() + "\nLeft out:\n\n" + notes.String()
	}
	return t.String()
}

// find is the result of a scenario; nil if it was not measured.
func (c *comparison) find(s scenario) *result {
	for i := range c.Results {
		if c.Results[i].Scenario == s {
			return &c.Results[i]
		}
	}
	return nil
}

// count says how many, with a comma between thousands.
func count(f figure) string {
	if math.IsNaN(f.Median) {
		return ""
	}
	text := strconv.Itoa(int(math.Round(f.Median)))
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// times says a time that is in microseconds.
func times(f figure) string { return duration(f.Median) }

func duration(micros float64) string {
	switch {
	case math.IsNaN(micros):
		return ""
	case micros < 9_995:
		return strconv.FormatFloat(micros, 'f', 0, 64) + " µs"
	case micros < 99_950:
		return strconv.FormatFloat(micros/1e3, 'f', 1, 64) + " ms"
	case micros < 999_500:
		return strconv.FormatFloat(micros/1e3, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(micros/1e6, 'f', 2, 64) + " s"
}

func megabytes(f figure) string { return megabytesText(f.Median) }

func megabytesText(mb float64) string {
	if math.IsNaN(mb) {
		return ""
	}
	return strconv.FormatFloat(mb, 'f', 0, 64) + " MB"
}

// ratioText says a ratio and between what it lay.
func ratioText(f figure) string {
	if math.IsNaN(f.Median) {
		return ""
	}
	if f.Low == f.High {
		return strconv.FormatFloat(f.Median, 'f', 2, 64)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", f.Median, f.Low, f.High)
}
