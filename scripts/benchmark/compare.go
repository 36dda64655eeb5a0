package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A comparison is all that one run found out.
type comparison struct {
	Machine  machine
	Results  []result
	Idle     []idle
	Variants result
	Notes    []string // what is not in the tables, and why
}

// Idle is what a subject's proxies hold before the first load.
type idle struct {
	Subject, Proto string
	Memory         memory
}

// settle is how long a subject is left alone before it is asked what it holds
// at rest.
const settle = 3 * time.Second

// compare measures the three subjects in every scenario, then the variants. If
// it cannot go on, or is stopped, what was measured until then is not lost.
func (b *bench) compare(ctx context.Context) error {
	c := comparison{Machine: describe(ctx, b)}
	for _, note := range c.Machine.warnings() {
		say("%s", note)
	}
	ended := b.measureAll(ctx, &c)
	if len(c.Results) == 0 {
		return ended
	}
	c.Machine.done()
	if err := b.writeJSON(c); err != nil {
		return errors.Join(ended, err)
	}
	if _, err := os.Stdout.WriteString(c.markdown()); err != nil {
		return errors.Join(ended, err)
	}
	if ended == nil && b.o.writeDocs {
		return c.writeDocs(".")
	}
	return ended
}

func (b *bench) measureAll(ctx context.Context, c *comparison) error {
	for _, proto := range b.o.protocols {
		if err := b.compareProtocol(ctx, c, proto); err != nil {
			return err
		}
	}
	if b.o.variants && slices.Contains(b.o.protocols, protoHTTP) {
		return b.compareVariants(ctx, c)
	}
	return nil
}

func (b *bench) compareProtocol(ctx context.Context, c *comparison, proto string) error {
	before := len(b.processes)
	defer func() { b.stopFrom(before) }()
	subjects, err := b.startSubjects(ctx, proto)
	if err != nil {
		return err
	}
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	for _, s := range subjects[1:] {
		pids, _, err := s.pids()
		if err != nil {
			return err
		}
		c.Idle = append(c.Idle, idle{s.name, proto, memoryOf(pids)})
	}
	for _, p := range b.plan(proto) {
		say("%s, %d rounds", p.scenario, p.rounds)
		r, err := b.measure(ctx, p.scenario, subjects, p.rounds)
		if err != nil {
			return err
		}
		say("  %s", r.oneLine())
		c.Results = append(c.Results, r)
	}
	return nil
}

// startSubjects starts the same small app behind nothing, HAProxy and pillion.
func (b *bench) startSubjects(ctx context.Context, proto string) ([]*subject, error) {
	app, port, err := b.startApp(ctx)
	if err != nil {
		return nil, err
	}
	haproxy, err := b.startHAProxy(ctx, proto, app, port)
	if err != nil {
		return nil, err
	}
	sidecars, err := b.startPair(ctx, pairSpec{name: namePillion, proto: proto})
	if err != nil {
		return nil, err
	}
	return []*subject{direct(proto, app, port), haproxy, &sidecars.subject}, nil
}

// A planned scenario is one with its number of rounds.
type planned struct {
	scenario
	rounds int
}

// plan is what to measure of a protocol.
func (b *bench) plan(proto string) []planned {
	var out []planned
	add := func(s shape, connections, streams int) {
		rounds := 5
		switch {
		case b.o.rounds > 0:
			rounds = b.o.rounds
		case b.o.quick:
			rounds = 2
		case connections >= 256:
			rounds = 9
		}
		out = append(out, planned{scenario{proto, s, connections, streams}, rounds})
	}
	if b.o.quick && len(b.o.bodies) == 0 && len(b.o.connections) == 0 {
		add(shape{Up: 54}, 1, 1)
		add(shape{Up: 54}, 32, 1)
		if proto == protoHTTP {
			add(shape{Up: 54}, 256, 1)
			add(shape{Up: 1 << 20}, 32, 1)
		}
		return out
	}
	for _, s := range shapes(b.o.bodies) {
		for _, n := range orElse(b.o.connections, 1, 32, 256) {
			add(s, n, 1)
		}
	}
	if proto == protoGRPC && len(b.o.connections) == 0 {
		add(shape{Up: 54}, 1, 32)
	}
	return out
}

// shapes are the bodies both ways; the small one goes up only.
func shapes(bodies []int) []shape {
	var out []shape
	for _, n := range orElse(bodies, 54, 10<<10, 1<<20) {
		out = append(out, shape{Up: n})
		if n > 1000 {
			out = append(out, shape{Up: 54, Down: n})
		}
	}
	return out
}

func orElse(given []int, fallback ...int) []int {
	if len(given) > 0 {
		return given
	}
	return fallback
}

// oneLine says how a scenario went while the rest is measured.
func (r result) oneLine() string {
	var text strings.Builder
	for _, s := range r.Series {
		_, _ = fmt.Fprintf(&text, "%s %.0f/s p50 %s  ", s.Subject, s.figure(rate).Median, duration(s.figure(p50).Median))
	}
	if base := r.of(nameHAProxy); len(base.Samples) > 0 {
		_, _ = fmt.Fprintf(&text, "pillion ÷ HAProxy %.2f, CPU %.2f",
			r.ratio(namePillion, nameHAProxy, rate).Median, r.ratio(namePillion, nameHAProxy, proxyCPU).Median)
	}
	return text.String()
}

// sleep waits, at most until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
