package cmd

import (
	"strconv"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/runtime/invoke"
)

// chartWidth is the widest the chart of a call gets.
const chartWidth = 88

// minBar is the least room for bars; with less there are none.
const minBar = 10

// A step is one row of the chart.
type step struct {
	name string
	took time.Duration
	note string
}

// steps are where the time of the call went, in order.
func (x *exchange) steps(a *invoke.Answer) []step {
	t := x.timing
	address := ""
	if len(a.Endpoint.Addrs) > 0 {
		address = a.Endpoint.Addrs[0].String()
	}
	out := []step{
		{"resolve", t.Resolve, foundBy(a.Endpoint.Source)},
		{"connect", t.Connect, address},
		{"TLS", t.TLS, a.Peer.App()},
	}
	if t.Held > 0 {
		out = append(out, step{"held", t.Held, "until the app was ready"})
	}
	return append(out,
		step{"app", t.App, strconv.Itoa(a.Status)},
		step{"body", t.Body, human.Size(x.sent.bytes)})
}

func foundBy(source string) string {
	switch source {
	case "local":
		return "this machine"
	case "mdns":
		return "mDNS"
	case "static":
		return "static peer"
	}
	return source
}

// chart shows the steps: bars on a terminal, records in a pipe.
func (x *exchange) chart(a *invoke.Answer) {
	steps := x.steps(a)
	p := x.c.Err
	if !p.TTY {
		rows := make([][]string, 0, len(steps)+1)
		for _, s := range steps {
			rows = append(rows, []string{s.name, p.Duration(s.took), s.note})
		}
		p.Records(append(rows, []string{"total", p.Duration(x.total), ""}))
		return
	}
	p.Print("\n" + drawChart(p.Theme, steps, x.total))
}

func drawChart(t *ui.Theme, steps []step, total time.Duration) string {
	const label = len("resolve") + 3
	values := make([]string, len(steps))
	value, note := ui.Cells(millis(total)), 0
	for i, s := range steps {
		values[i] = millis(s.took)
		value, note = max(value, ui.Cells(values[i])), max(note, ui.Cells(s.note))
	}
	room := min(t.Width, chartWidth) - label - value - 2 - 2 - note
	var out strings.Builder
	var before time.Duration
	for i, s := range steps {
		row := ui.Pad(s.name, label) + ui.PadLeft(values[i], value)
		if room >= minBar {
			row += "  " + ui.Pad(bar(t, room, before, s.took, max(total, 1)), room)
		}
		if s.note != "" && ui.Cells(row)+2+ui.Cells(s.note) <= t.Width {
			row += "  " + t.Paint(ui.ToneMuted, s.note)
		}
		out.WriteString(strings.TrimRight(row, " ") + "\n")
		before += s.took
	}
	out.WriteString(ui.Pad("total", label) + ui.PadLeft(millis(total), value) + "\n")
	return out.String()
}

// bar is a step's share of the total, where it happened.
func bar(t *ui.Theme, room int, before, took, total time.Duration) string {
	at := min(int(int64(room)*int64(before)/int64(total)), room-1)
	length := max(1, int((int64(room)*int64(took)+int64(total)/2)/int64(total)))
	length = min(length, room-at)
	return strings.Repeat(" ", at) + t.Text(strings.Repeat("━", length))
}

// millis is a duration in one unit for all rows, so that they can be compared
// at a glance.
func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 2, 64) + "ms"
}
