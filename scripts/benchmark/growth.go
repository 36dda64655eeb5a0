package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/pillion-dev/pillion/scripts/internal/plot"
)

// Curves that can be asked for.
const (
	curveConnections = "connections"
	curveInstances   = "instances"
	curveSidecars    = "sidecars"
	curveIdle        = "idle"
)

// growthBound is how much more a call may cost than at the base of a curve.
const growthBound = 1.1

// A curve is cost and latency as something grows.
type curve struct {
	Name, Title, Axis string
	Base              int // what the others are compared with
	Steps             []step
}

// A step is one point of a curve, measured beside HAProxy, which is there to
// show what the machine did meanwhile.
type step struct {
	N int
	// Rest is how much of a core the proxies take before the load.
	Rest float64
	result
}

// A growthReport is what `growth` found out.
type growthReport struct {
	Machine machine
	Curves  []curve
	Idle    idleConnections
}

// small is what growth is measured with.
func small(connections int) scenario { return scenario{protoHTTP, shape{Up: 54}, connections, 1} }

// growth measures cost by connections, instances and sidecars, and what an idle
// connection costs.
func (b *bench) growth(ctx context.Context) error {
	g := growthReport{Machine: describe(ctx, b)}
	for _, note := range g.Machine.warnings() {
		say("%s", note)
	}
	for _, name := range b.o.curves {
		if err := b.grow(ctx, &g, name); err != nil {
			return err
		}
		b.stopFrom(0)
	}
	if err := b.writeJSON(g); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString(g.markdown()); err != nil {
		return err
	}
	if b.o.writeDocs {
		return g.page().write(".")
	}
	return nil
}

// grow measures one curve.
func (b *bench) grow(ctx context.Context, g *growthReport, name string) error {
	var c curve
	var err error
	switch name {
	case curveIdle:
		g.Idle, err = b.idleConnections(ctx)
		return err
	case curveInstances:
		c, err = b.byInstances(ctx)
	case curveSidecars:
		c, err = b.bySidecars(ctx)
	default:
		c, err = b.byConnections(ctx)
	}
	g.Curves = append(g.Curves, c)
	return err
}

// steps are the sizes of a curve; quick takes its ends and a middle.
func (b *bench) steps(sizes ...int) []int {
	if !b.o.quick {
		return sizes
	}
	return []int{sizes[0], sizes[len(sizes)/2], sizes[len(sizes)-1]}
}

func (b *bench) growthRounds() int {
	switch {
	case b.o.rounds > 0:
		return b.o.rounds
	case b.o.quick:
		return 1
	}
	return 5
}

// point measures one step of a curve.
func (b *bench) point(ctx context.Context, c *curve, n int, s scenario, subjects []*subject) error {
	rest, err := atRest(ctx, subjects[len(subjects)-1])
	if err != nil {
		return err
	}
	r, err := b.measure(ctx, s, subjects, b.growthRounds())
	if err != nil {
		return err
	}
	say("%s: %d: CPU %s, p50 %s", c.Name, n, times(r.of(namePillion).figure(proxyCPU)), times(r.of(namePillion).figure(p50)))
	c.Steps = append(c.Steps, step{n, rest, r})
	return nil
}

// atRest is how much of a core the proxies of a subject take while nobody calls
// them.
func atRest(ctx context.Context, s *subject) (float64, error) {
	if err := sleep(ctx, settle); err != nil {
		return 0, err
	}
	pids, _, err := s.pids()
	if err != nil {
		return 0, err
	}
	before := cpuOf(pids)
	if err := sleep(ctx, settle); err != nil {
		return 0, err
	}
	return (cpuOf(pids) - before).Seconds() / settle.Seconds(), nil
}

func (b *bench) byConnections(ctx context.Context) (curve, error) {
	c := curve{Name: curveConnections, Title: "connections at the door", Axis: "connections", Base: 32}
	subjects, err := b.startSubjects(ctx, protoHTTP)
	if err != nil {
		return c, err
	}
	sizes := b.steps(1, 2, 8, 32, 128, 512, 1000)
	for _, n := range sizes {
		if err := b.point(ctx, &c, n, small(n), subjects[1:]); err != nil {
			return c, err
		}
	}
	return c, nil
}

// byInstances adds instances of the callee: sidecars of the same app ID before
// the same app.
func (b *bench) byInstances(ctx context.Context) (curve, error) {
	return b.more(ctx, curve{Name: curveInstances, Title: "instances of the callee, 32 connections", Axis: "instances", Base: 1},
		b.steps(1, 10, 50, 100), 1, func(p *pair, _ int) (flags []string, counted bool) {
			return []string{"--app-id", calleeID, "--app-port", p.appPort}, true
		})
}

// bySidecars adds sidecars of other apps, which have nothing to do with the
// calls.
func (b *bench) bySidecars(ctx context.Context) (curve, error) {
	return b.more(ctx, curve{Name: curveSidecars, Title: "sidecars on the machine, 32 connections", Axis: "sidecars", Base: 2},
		b.steps(2, 10, 25, 50), 2, func(p *pair, n int) (flags []string, counted bool) {
			return []string{"--app-id", "bystander-" + strconv.Itoa(n), "--app-port", p.appPort}, false
		})
}

// more measures a pair while sidecars are added to its home, as extra says.
// there is how many of the size the pair itself is.
func (b *bench) more(ctx context.Context, c curve, sizes []int, there int,
	extra func(p *pair, n int) (flags []string, counted bool),
) (curve, error) {
	app, port, err := b.startApp(ctx)
	if err != nil {
		return c, err
	}
	haproxy, err := b.startHAProxy(ctx, protoHTTP, app, port)
	if err != nil {
		return c, err
	}
	p, err := b.startPair(ctx, pairSpec{name: namePillion, proto: protoHTTP})
	if err != nil {
		return c, err
	}
	for _, n := range sizes {
		for ; there < n; there++ {
			flags, counted := extra(p, there)
			if err := b.addSidecar(ctx, p, flags, counted); err != nil {
				return c, err
			}
		}
		if err := b.point(ctx, &c, n, small(32), []*subject{haproxy, &p.subject}); err != nil {
			return c, err
		}
	}
	return c, nil
}

// addSidecar starts a sidecar alone in the home of p and waits for it. One
// that is counted is part of what a call costs.
func (b *bench) addSidecar(ctx context.Context, p *pair, flags []string, counted bool) error {
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return err
	}
	one, err := b.startSidecar(p, append(flags, "--dapr-http-port", ports[0], "--dapr-grpc-port", ports[1]))
	if err != nil {
		return err
	}
	if counted {
		p.proxies = append(p.proxies, one)
	}
	return one.await(ctx, func(ctx context.Context) error { return healthy(ctx, ports[0]) })
}

// markdown is the whole report.
func (g *growthReport) markdown() string {
	var out strings.Builder
	for _, c := range g.Curves {
		_, _ = fmt.Fprintf(&out, "## By %s\n\n%s\n", c.Name, c.table()) // a builder takes everything
	}
	if g.Idle.Count > 0 {
		_, _ = fmt.Fprintf(&out, "## An idle connection\n\n%s\n", g.Idle) // as above
	}
	return out.String()
}

// page is what goes into the documents.
func (g *growthReport) page() page {
	p := page{
		blocks: map[string]string{"growth-machine": g.Machine.String(), "growth-idle": g.Idle.String()},
		plots:  map[string][]byte{},
	}
	for _, c := range g.Curves {
		p.blocks["growth-"+c.Name] = c.table()
		p.plots["growth-"+c.Name+"-cpu.svg"] = c.plot("CPU for a call, by "+c.Title, "µs", proxyCPU, 1)
		p.plots["growth-"+c.Name+"-p50.svg"] = c.plot("median latency, by "+c.Title, "ms", p50, 1e-3)
	}
	return p
}

// base is the step the others are compared with; the first if there is none.
func (c *curve) base() step {
	for _, s := range c.Steps {
		if s.N == c.Base {
			return s
		}
	}
	return c.Steps[0]
}

// table has the cost of each step and how it compares with the base.
func (c *curve) table() string {
	if len(c.Steps) == 0 {
		return ""
	}
	t := newTable(c.Axis, "calls/s", "p50", "p99", "CPU/call", fmt.Sprintf("÷ at %d", c.base().N), "memory", "CPU at rest", "HAProxy's CPU/call", "CPU ÷ HAProxy")
	base := c.base().of(namePillion).figure(proxyCPU)
	for _, s := range c.Steps {
		own := s.of(namePillion)
		cost := own.figure(proxyCPU)
		growth := fmt.Sprintf("%.2f", cost.Median/base.Median)
		if cost.Median > base.Median*growthBound {
			growth = "**" + growth + "**"
		}
		t.row(strconv.Itoa(s.N), count(own.figure(rate)), times(own.figure(p50)), times(own.figure(p99)), times(cost), growth,
			megabytes(own.figure(resident)), fmt.Sprintf("%.1f %%", 100*s.Rest), times(s.of(nameHAProxy).figure(proxyCPU)), ratioText(s.ratio(namePillion, nameHAProxy, proxyCPU)))
	}
	return t.String()
}

func (c *curve) plot(title, unit string, field func(sample) float64, scale float64) []byte {
	lines := plot.Lines{Title: title, Unit: unit, X: c.Axis}
	for _, name := range []string{nameHAProxy, namePillion} {
		series := plot.LineSeries{Name: name}
		for _, s := range c.Steps {
			series.Points = append(series.Points, plot.Point{X: float64(s.N), Value: s.of(name).figure(field).value(scale)})
		}
		lines.Series = append(lines.Series, series)
	}
	return lines.SVG()
}
