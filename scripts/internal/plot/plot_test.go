package plot_test

import (
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/scripts/internal/plot"
)

// elements parses an SVG and counts its elements by name; shapes out of the
// view box fail the test.
func elements(t *testing.T, svg []byte) map[string]int {
	t.Helper()
	counts := map[string]int{}
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return counts
		}
		if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, svg)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		counts[start.Name.Local]++
		for _, a := range start.Attr {
			limit, checked := map[string]float64{"x": 720, "cx": 720, "y": 320, "cy": 320, "height": 320, "width": 720}[a.Name.Local]
			if v, err := strconv.ParseFloat(a.Value, 64); checked && (err != nil || v < 0 || v > limit) {
				t.Errorf("%s has %s=%q, want 0 to %v", start.Name.Local, a.Name.Local, a.Value, limit)
			}
		}
	}
}

func TestBarsDrawEachValueOnceWithItsSpread(t *testing.T) {
	t.Parallel()
	svg := plot.Bars{
		Title: "calls <per> second", Unit: "1/s", Groups: []string{"1", "32", "256"},
		Series: []plot.BarSeries{
			{Name: "haproxy", Values: []plot.Value{{100, 90, 110}, {200, 200, 200}, {24_000, 23_000, 25_000}}},
			{Name: "pillion", Values: []plot.Value{{100, 90, 110}, {300, 280, 310}}},
		},
	}.SVG()
	got := elements(t, svg)
	// Five bars and two squares of the legend; a value without a spread has no
	// whisker.
	if got["rect"] != 7 || got["path"] != 4 {
		t.Errorf("drew %d rectangles and %d whiskers, want 7 and 4", got["rect"], got["path"])
	}
	for _, want := range []string{"calls &lt;per&gt; second", ">25k<", "prefers-color-scheme:dark"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("no %q in\n%s", want, svg)
		}
	}
}

func TestLinesDrawEachPoint(t *testing.T) {
	t.Parallel()
	point := func(x, y float64) plot.Point { return plot.Point{X: x, Value: plot.Value{Y: y, Low: y, High: y}} }
	svg := plot.Lines{
		Title: "cost", Unit: "µs", X: "connections",
		Series: []plot.LineSeries{
			{Name: "pillion", Points: []plot.Point{point(1, 60), point(32, 40), point(1000, 0.5)}},
			{Name: "haproxy", Points: []plot.Point{point(1, 50)}},
		},
	}.SVG()
	got := elements(t, svg)
	if got["circle"] != 4 || got["polyline"] != 2 {
		t.Errorf("drew %d points on %d curves, want 4 on 2", got["circle"], got["polyline"])
	}
}

func TestNothingMeasuredIsStillAChart(t *testing.T) {
	t.Parallel()
	elements(t, plot.Bars{Title: "empty", Groups: []string{"1"}}.SVG())
	elements(t, plot.Lines{Title: "empty", Series: []plot.LineSeries{{Name: "none"}}}.SVG())
	elements(t, plot.Lines{Title: "one", Series: []plot.LineSeries{{Points: []plot.Point{{X: 1}}}}}.SVG())
}
