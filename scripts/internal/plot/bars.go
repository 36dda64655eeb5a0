package plot

// Bars is a chart of groups of bars, one bar of each series in a group.
type Bars struct {
	Title, Unit string
	Groups      []string
	Series      []BarSeries
}

// A BarSeries has a value for each group, in their order. A group beyond its
// values has no bar of it.
type BarSeries struct {
	Name   string
	Values []Value
}

// SVG is the chart as a document.
func (b Bars) SVG() []byte {
	var c canvas
	names, highest := make([]string, len(b.Series)), 0.0
	for i, s := range b.Series {
		names[i] = s.Name
		for _, v := range s.Values {
			highest = max(highest, v.Y, v.High)
		}
	}
	c.begin(b.Title, names)
	c.yAxis(highest, b.Unit)
	for g, name := range b.Groups {
		b.group(&c, g, name)
	}
	c.printf(`<line class="axis" x1="%g" x2="%g" y1="%g" y2="%g"/>`+"\n", left, width-right, height-bottom, height-bottom)
	return c.end()
}

func (b Bars) group(c *canvas, g int, name string) {
	slot := plotWidth / float64(len(b.Groups))
	bar := slot * 0.8 / float64(max(1, len(b.Series)))
	x := left + slot*(float64(g)+0.1)
	for i, s := range b.Series {
		if g < len(s.Values) {
			v := s.Values[g]
			y := c.y(v.Y)
			c.printf(`<rect class="s%d" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect>`+"\n",
				i%colours, x+1, y, bar-2, height-bottom-y, number(v.Y))
			c.whisker(x+bar/2, v)
		}
		x += bar
	}
	c.text(left+slot*(float64(g)+0.5), height-bottom+18, "middle", "", name)
}
