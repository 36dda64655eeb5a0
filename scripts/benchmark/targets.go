package main

import (
	"fmt"
	"math"
)

// A target is a figure that is aimed at, in a scenario that shows it.
type target struct {
	name    string
	at      scenario
	field   func(sample) float64
	atLeast bool    // else at most
	must    float64 // 0: only aimed at
	aim     float64
	figure  string // what the figure is, if it is no ratio to HAProxy
}

// targetList is what the data path is to reach, as ratios to HAProxy in the
// same run.
func targetList() []target {
	small := func(n int) scenario { return scenario{protoHTTP, shape{Up: 54}, n, 1} }
	return []target{
		{name: "throughput, 32 connections", at: small(32), field: rate, atLeast: true, must: 1, aim: 1.25},
		{name: "CPU per call, 32 connections", at: small(32), field: proxyCPU, must: 1, aim: 0.8},
		{name: "p50, 1 connection", at: small(1), field: p50, must: 1},
		{name: "p99, 32 connections", at: small(32), field: p99, must: 1},
		{name: "throughput, 256 connections", at: small(256), field: rate, atLeast: true, aim: 1},
		{name: "throughput, 1 MB up, 32 connections", at: scenario{protoHTTP, shape{Up: 1 << 20}, 32, 1}, field: rate, atLeast: true, must: 0.9},
		{name: "throughput, 1 MB down, 32 connections", at: scenario{protoHTTP, shape{Up: 54, Down: 1 << 20}, 32, 1}, field: rate, atLeast: true, must: 0.9},
		{name: "memory of both sidecars, 256 connections", at: small(256), field: resident, must: 80, figure: "MB"},
	}
}

// targets is the table of what was to be reached, and was.
func (c *comparison) targets() string {
	t := newTable("target, HTTP, 54 B unless said", "must", "aim", "measured", "")
	rows := 0
	for _, want := range targetList() {
		r := c.find(want.at)
		if r == nil {
			continue
		}
		got, text := r.ratio(namePillion, nameHAProxy, want.field), ""
		if want.figure != "" {
			got = r.of(namePillion).figure(want.field)
			text = fmt.Sprintf("%.0f %s", got.Median, want.figure)
		} else {
			text = ratioText(got)
		}
		t.row(want.name, want.bound(want.must), want.bound(want.aim), text, want.verdict(got.Median))
		rows++
	}
	if rows == 0 {
		return ""
	}
	return t.String()
}

func (w target) bound(limit float64) string {
	if limit == 0 {
		return ""
	}
	sign := "≤"
	if w.atLeast {
		sign = "≥"
	}
	if w.figure != "" {
		return fmt.Sprintf("%s %g %s", sign, limit, w.figure)
	}
	return fmt.Sprintf("%s %g", sign, limit)
}

// verdict says what of the target is met.
func (w target) verdict(got float64) string {
	meets := func(limit float64) bool { return w.atLeast && got >= limit || !w.atLeast && got <= limit }
	switch {
	case math.IsNaN(got):
		return "not measured"
	case w.aim != 0 && meets(w.aim):
		return "aim met"
	case w.must != 0 && meets(w.must):
		return "met"
	}
	return "**not met**"
}
