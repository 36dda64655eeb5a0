package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/scripts/internal/plot"
)

// docsFile is what --write-docs writes into, plotsFolder holds its plots.
const (
	docsFile    = "docs/performance.md"
	plotsFolder = "docs/performance"
)

// A page is what a run puts into docs/performance.md: texts by the name of
// their block, and plots by the name of their file.
type page struct {
	blocks map[string]string
	plots  map[string][]byte
}

// write replaces the blocks and the plots in the checkout at root. Empty ones
// are left as they were.
func (p page) write(root string) error {
	file := filepath.Join(root, docsFile)
	text, err := os.ReadFile(file) //nolint:gosec // in the checkout
	if err != nil {
		return err
	}
	out := string(text)
	for name, block := range p.blocks {
		if block == "" {
			continue
		}
		if out, err = replaceBlock(out, name, block); err != nil {
			return fmt.Errorf("%s: %w", docsFile, err)
		}
	}
	folder := filepath.Join(root, plotsFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // for readers
		return err
	}
	for name, svg := range p.plots {
		if err := os.WriteFile(filepath.Join(folder, name), svg, 0o644); err != nil { //nolint:gosec // for readers
			return err
		}
	}
	say("wrote %s and %d plots", docsFile, len(p.plots))
	return os.WriteFile(file, []byte(out), 0o644) //nolint:gosec // for readers
}

// replaceBlock replaces what stands between the marks of a block.
func replaceBlock(text, name, block string) (string, error) {
	begin, end := "<!-- bench:"+name+" -->\n", "<!-- /bench:"+name+" -->"
	before, rest, found := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return "", errors.New("there is no block " + name)
	}
	return before + begin + strings.TrimRight(block, "\n") + "\n" + end + after, nil
}

// writeDocs writes what a comparison found out.
func (c *comparison) writeDocs(root string) error {
	return page{
		blocks: map[string]string{
			"machine": c.Machine.String(), "targets": c.targets(),
			"http": c.protocolTable(protoHTTP), "grpc": c.protocolTable(protoGRPC),
			"beside": c.besideGRPC(), "cpu": c.cpuTable(), "memory": c.memoryTable(), "variants": c.variantTable(),
		},
		plots: c.plots(),
	}.write(root)
}

// A chart is one field of the small body's scenarios, by connections.
type chart struct {
	name, title, unit string
	field             func(sample) float64
	scale             float64
	subjects          []string
}

func charts() []chart {
	all := []string{nameDirect, nameHAProxy, namePillion}
	return []chart{
		{"throughput", "calls a second", "1/s", rate, 1, all},
		{"cpu", "CPU of the proxies for a call", "µs", proxyCPU, 1, all[1:]},
		{"p50", "median latency", "ms", p50, 1e-3, all},
		{"p99", "99th percentile of the latency", "ms", p99, 1e-3, all},
		{"memory", "resident memory of both proxies", "MB", resident, 1, all[1:]},
	}
}

// plots are the charts of each protocol that was measured.
func (c *comparison) plots() map[string][]byte {
	out := map[string][]byte{}
	for _, proto := range []string{protoHTTP, protoGRPC} {
		for _, ch := range charts() {
			if bars := c.bars(proto, ch); len(bars.Groups) > 0 {
				out[proto+"-"+ch.name+".svg"] = bars.SVG()
			}
		}
	}
	return out
}

func (c *comparison) bars(proto string, ch chart) plot.Bars {
	bars := plot.Bars{Title: fmt.Sprintf("%s, %s, 54 B, by connections", ch.title, proto), Unit: ch.unit}
	for _, name := range ch.subjects {
		bars.Series = append(bars.Series, plot.BarSeries{Name: name})
	}
	for _, r := range c.Results {
		if r.Scenario.Proto != proto || r.Scenario.shape != (shape{Up: 54}) || r.Scenario.Streams > 1 {
			continue
		}
		bars.Groups = append(bars.Groups, strconv.Itoa(r.Scenario.Connections))
		for i, name := range ch.subjects {
			bars.Series[i].Values = append(bars.Series[i].Values, r.of(name).figure(ch.field).value(ch.scale))
		}
	}
	return bars
}

// value is the figure as a plot takes it.
func (f figure) value(scale float64) plot.Value {
	return plot.Value{Y: f.Median * scale, Low: f.Low * scale, High: f.High * scale}
}

// writeJSON writes every figure, if that was asked for.
func (b *bench) writeJSON(v any) error {
	if b.o.jsonFile == "" {
		return nil
	}
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.o.jsonFile, append(text, '\n'), 0o644) //nolint:gosec // for readers
}
