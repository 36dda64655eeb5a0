// Package plot draws the charts of docs/performance as SVG: bars in groups and
// curves, with whiskers for the spread. They have no background and take their
// colours from the reader's scheme, so that they read well in light and dark.
package plot

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// A Value is one figure with its spread. Low and High are drawn as a whisker
// unless they are equal.
type Value struct {
	Y, Low, High float64
}

// The canvas, in the units of the SVG's view box.
const (
	width, height = 720.0, 320.0
	left, right   = 64.0, 16.0
	top, bottom   = 56.0, 44.0
	plotWidth     = width - left - right
	plotHeight    = height - top - bottom
)

// style gives each series its colour in both schemes. The pairs differ in
// lightness too, so that they can be told apart without seeing colour.
const style = `<style>
text{font:12px system-ui,sans-serif;fill:#57606a}
.title{font-size:14px;font-weight:600;fill:#1f2328}
.grid{stroke:#d0d7de;stroke-width:1}
.axis,.whisker{stroke:#57606a;stroke-width:1}
.s0{fill:#8c959f;stroke:#8c959f}.s1{fill:#0969da;stroke:#0969da}.s2{fill:#bc4c00;stroke:#bc4c00}.s3{fill:#116329;stroke:#116329}.s4{fill:#6639ba;stroke:#6639ba}
.line{fill:none;stroke-width:2}
@media (prefers-color-scheme:dark){
text{fill:#9198a1}.title{fill:#f0f6fc}.grid{stroke:#3d444d}.axis,.whisker{stroke:#9198a1}
.s0{fill:#6e7681;stroke:#6e7681}.s1{fill:#58a6ff;stroke:#58a6ff}.s2{fill:#f0883e;stroke:#f0883e}.s3{fill:#56d364;stroke:#56d364}.s4{fill:#bc8cff;stroke:#bc8cff}
.line{fill:none}}
</style>
`

// colours is how many series a chart can tell apart.
const colours = 5

// A canvas is an SVG being written.
type canvas struct {
	svg strings.Builder
	max float64 // of the y axis
}

func (c *canvas) printf(format string, args ...any) { _, _ = fmt.Fprintf(&c.svg, format, args...) }

// begin writes the head, the title and the legend.
func (c *canvas) begin(title string, names []string) {
	c.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" role="img" aria-label="%s">`+"\n",
		width, height, html.EscapeString(title))
	c.printf("%s", style)
	c.text(left, 18, "start", "title", title)
	x := left
	for i, name := range names {
		c.printf(`<rect class="s%d" x="%.1f" y="28" width="10" height="10"/>`+"\n", i%colours, x)
		c.text(x+15, 37, "start", "", name)
		x += 15 + 7*float64(len([]rune(name))) + 18
	}
}

// yAxis draws the grid from 0 to at least max, and says the unit.
func (c *canvas) yAxis(highest float64, unit string) {
	step := niceStep(highest, 5)
	c.max = math.Max(step, math.Ceil(highest/step-1e-9)*step)
	for v := 0.0; v <= c.max+step/2; v += step {
		y := c.y(v)
		c.printf(`<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>`+"\n", left, width-right, y, y)
		c.text(left-8, y+4, "end", "", number(v))
	}
	c.text(width-right, 18, "end", "", unit)
}

func (c *canvas) y(v float64) float64 { return top + plotHeight*(1-v/c.max) }

func (c *canvas) text(x, y float64, anchor, class, text string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	c.printf(`<text%s x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", class, x, y, anchor, html.EscapeString(text))
}

// whisker draws the spread of v at x.
func (c *canvas) whisker(x float64, v Value) {
	if v.Low == v.High {
		return
	}
	low, high := c.y(math.Max(0, v.Low)), c.y(v.High)
	c.printf(`<path class="whisker" fill="none" d="M%.1f %.1fH%.1fM%.1f %.1fV%.1fM%.1f %.1fH%.1f"/>`+"\n",
		x-3, low, x+3, x, low, high, x-3, high, x+3)
}

func (c *canvas) end() []byte {
	c.printf("</svg>\n")
	return []byte(c.svg.String())
}

// niceStep is a step of 1, 2 or 5 times a power of ten that divides highest
// into at most n parts.
func niceStep(highest float64, n int) float64 {
	if highest <= 0 {
		return 1
	}
	raw := highest / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, factor := range []float64{1, 2, 5} {
		if raw <= factor*power*(1+1e-9) {
			return factor * power
		}
	}
	return 10 * power
}

// number is v as an axis says it.
func number(v float64) string {
	switch {
	case v >= 10_000:
		return strconv.FormatFloat(v/1000, 'g', 4, 64) + "k"
	case v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
