package main

import (
	"strings"
	"testing"
)

// measuredResult is a result with the same figures in each of three rounds, but for
// pillion's spread.
func measuredResult(s scenario) result {
	one := func(rate, cpu float64) sample {
		return sample{Rate: rate, P50: 1000, P90: 2000, P99: 12_345, ProxyCPU: cpu, AppCPU: 10, LoadCPU: 5, Memory: memory{Resident: 30 << 20}, Calls: 9}
	}
	return result{Scenario: s, Series: []series{
		{nameDirect, []sample{one(30_000, 0), one(30_000, 0), one(30_000, 0)}},
		{nameHAProxy, []sample{one(20_000, 40), one(20_000, 40), one(20_000, 40)}},
		{namePillion, []sample{one(24_000, 30), one(26_000, 32), one(22_000, 36)}},
	}}
}

func comparisonOf(scenarios ...scenario) *comparison {
	c := &comparison{Idle: []idle{{namePillion, protoHTTP, memory{40 << 20, 9 << 20}}}, Notes: []string{"metrics: not in this version"}}
	for _, s := range scenarios {
		c.Results = append(c.Results, measuredResult(s))
	}
	c.Variants = measuredResult(small(32))
	c.Variants.Series = append(c.Variants.Series[1:], series{"API log", c.Variants.Series[1].Samples})
	return c
}

func TestTablesSayFiguresRatiosAndSpread(t *testing.T) {
	t.Parallel()
	c := comparisonOf(small(1), small(32), scenario{protoGRPC, shape{Up: 54}, 1, 1}, scenario{protoGRPC, shape{Up: 54}, 32, 1})
	text := c.markdown()
	for _, want := range []string{
		"|  | **pillion** | 24,000 | 1000 µs | 2000 µs | 12.3 ms | 32 µs | 30 MB | 1.20 (1.10–1.30) | 0.80 (0.75–0.90) | 1.00 | 1.00 |",
		"| 54 B up, 1 | direct | 30,000 |",
		"| throughput, 32 connections | ≥ 1 | ≥ 1.25 | 1.20 (1.10–1.30) | met |",
		"| CPU per call, 32 connections | ≤ 1 | ≤ 0.8 | 0.80 (0.75–0.90) | aim met |",
		"| p50, 1 connection | ≤ 1 |  | 1.00 | met |",
		"| … with API log | 20,000 |",
		"- metrics: not in this version",
		"| 32 connections | direct | 30,000 | 30,000 | 1000 µs | 1000 µs | 12.3 ms | 12.3 ms |  |  |",
		"| http | **pillion** | 32 µs | 10 µs | 5 µs | 1.1 |",
		"| **pillion** | http | 40 MB | 9 MB | 30 MB |  |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
	sameColumns(t, text)
}

// sameColumns checks that all rows of a table have as many cells as its head.
func sameColumns(t *testing.T, text string) {
	t.Helper()
	want := 0
	for line := range strings.Lines(text) {
		switch cells := strings.Count(line, "|"); {
		case cells == 0:
			want = 0
		case want == 0:
			want = cells
		case cells != want:
			t.Errorf("%d cells, want %d: %s", cells, want, line)
		}
	}
}

func TestATargetThatIsMissedIsSaid(t *testing.T) {
	t.Parallel()
	least, most := target{atLeast: true, must: 1, aim: 1.25}, target{aim: 0.8}
	for want, got := range map[string]string{
		"aim met": least.verdict(1.25), "met": least.verdict(1), "**not met**": least.verdict(0.99),
	} {
		if got != want {
			t.Errorf("verdict = %q, want %q", got, want)
		}
	}
	if got := most.verdict(0.81); got != "**not met**" {
		t.Errorf("verdict of an aim that is missed = %q", got)
	}
}

func TestFailedCallsAreSaid(t *testing.T) {
	t.Parallel()
	s := series{namePillion, []sample{{Failed: 1}, {Failed: 2}}}
	if got := subjectText(s); got != "**pillion** (3 failed)" {
		t.Errorf("subjectText = %q", got)
	}
}

func TestCurvesMarkWhatGrewTooMuch(t *testing.T) {
	t.Parallel()
	c := curve{Name: "connections", Axis: "connections", Base: 32}
	for n, cost := range map[int]float64{32: 30} {
		r := measuredResult(small(n))
		for i := range r.Series[2].Samples {
			r.Series[2].Samples[i].ProxyCPU = cost
		}
		c.Steps = append(c.Steps, step{n, 0, r})
	}
	c.Steps = append(c.Steps, step{1000, 0.015, measuredResult(small(1000))}) // 32: 7 % more
	dear := measuredResult(small(1))
	for i := range dear.Series[2].Samples {
		dear.Series[2].Samples[i].ProxyCPU = 60
	}
	c.Steps = append(c.Steps, step{1, 0, dear})
	text := c.table()
	for _, want := range []string{"| 32 | 24,000 |", "| 30 µs | 1.00 |", "| 32 µs | 1.07 |", "| 60 µs | **2.00** |", "| 1.5 % |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	sameColumns(t, text)
}
