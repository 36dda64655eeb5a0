package plot

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Lines is a chart of curves over an axis in which each doubling is as wide as
// the last.
type Lines struct {
	Title, Unit, X string
	Series         []LineSeries
}

// A LineSeries is one curve. Its points' X are positive and rise.
type LineSeries struct {
	Name   string
	Points []Point
}

// A Point is a value at X.
type Point struct {
	X float64
	Value
}

// SVG is the chart as a document.
func (l Lines) SVG() []byte {
	var c canvas
	var xs []float64
	names, highest := make([]string, len(l.Series)), 0.0
	for i, s := range l.Series {
		names[i] = s.Name
		for _, p := range s.Points {
			highest = max(highest, p.Y, p.High)
			xs = append(xs, p.X)
		}
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	c.begin(l.Title, names)
	c.yAxis(highest, l.Unit)
	at := logarithmic(xs)
	for _, x := range xs {
		c.text(at(x), height-bottom+18, "middle", "", number(x))
	}
	c.text(left+plotWidth/2, height-6, "middle", "", l.X)
	for i, s := range l.Series {
		s.draw(&c, i, at)
	}
	c.printf(`<line class="axis" x1="%g" x2="%g" y1="%g" y2="%g"/>`+"\n", left, width-right, height-bottom, height-bottom)
	return c.end()
}

func (s LineSeries) draw(c *canvas, i int, at func(float64) float64) {
	var path []string
	for _, p := range s.Points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", at(p.X), c.y(p.Y)))
	}
	c.printf(`<polyline class="s%d line" points="%s"/>`+"\n", i%colours, strings.Join(path, " "))
	for _, p := range s.Points {
		c.printf(`<circle class="s%d" cx="%.1f" cy="%.1f" r="3"><title>%s</title></circle>`+"\n",
			i%colours, at(p.X), c.y(p.Y), html.EscapeString(number(p.X)+": "+number(p.Y)))
		c.whisker(at(p.X), p.Value)
	}
}

// logarithmic places xs, which rise, on the plot's width.
func logarithmic(xs []float64) func(float64) float64 {
	const inset = 16
	if len(xs) < 2 {
		return func(float64) float64 { return left + plotWidth/2 }
	}
	low, span := math.Log(xs[0]), math.Log(xs[len(xs)-1])-math.Log(xs[0])
	return func(x float64) float64 {
		return left + inset + (plotWidth-2*inset)*(math.Log(x)-low)/span
	}
}
