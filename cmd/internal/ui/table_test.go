package ui

import (
	"strings"
	"testing"
)

func apps() Table {
	cell := func(texts ...string) []Cell {
		var out []Cell
		for _, s := range texts {
			out = append(out, Cell{Text: s})
		}
		return out
	}
	return Table{
		Columns: []Column{
			{Head: "APP"},
			{Head: "STATUS"},
			{Head: "PORT", Right: true, Leave: 9},
			{Head: "UP", Right: true, Leave: 8},
			{Head: "HTTP", Right: true, Leave: 7},
			{Head: "GRPC", Right: true, Leave: 4},
			{Head: "INSTANCE", Leave: 5},
			{Head: "PID", Right: true, Leave: 3},
			{Head: "CERT", Right: true, Leave: 2},
			{Head: "FOLDER", Shrink: InMiddle, Leave: 1},
			{Head: "COMMAND", Shrink: AtEnd, Leave: 6},
		},
		Rows: [][]Cell{
			cell("notification-service", "ready", "8001", "12m", "3501", "50002", "5kx2", "4240", "17h", "~/shop/notify", "uvicorn main:app --port 8001 --log-level info"),
			cell("todo-api", "ready", "8000", "2h4m", "3500", "50001", "9wd1", "4131", "17h", "~/shop/todo", "go run ."),
			cell("worker", "starting", "", "4s", "3502", "50003", "x2c8", "4388", "17h", "~/shop/worker", "python3 worker.py --queues mail,push,sms"),
		},
	}
}

func TestTableDropsColumnsInOrder(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{
		80: `APP                   STATUS    PORT    UP  HTTP  INSTANCE  COMMAND
notification-service  ready     8001   12m  3501  5kx2      uvicorn main:app --…
todo-api              ready     8000  2h4m  3500  9wd1      go run .
worker                starting     –    4s  3502  x2c8      python3 worker.py -…
`,
		160: `APP                   STATUS    PORT    UP  HTTP   GRPC  INSTANCE   PID  CERT  FOLDER         COMMAND
notification-service  ready     8001   12m  3501  50002  5kx2      4240   17h  ~/shop/notify  uvicorn main:app --port 8001 --log-level info
todo-api              ready     8000  2h4m  3500  50001  9wd1      4131   17h  ~/shop/todo    go run .
worker                starting     –    4s  3502  50003  x2c8      4388   17h  ~/shop/worker  python3 worker.py --queues mail,push,sms
`,
		40: `APP                   STATUS    PORT
notification-service  ready     8001
todo-api              ready     8000
worker                starting     –
`,
		20: `notification-service
  ready 8001 12m
todo-api
  ready 8000 2h4m
worker
  starting – 4s
`,
	} {
		p, out := screen(t, width)
		p.Table(apps())
		if out.String() != want {
			t.Errorf("at %d columns:\n%swant\n%s", width, out, want)
		}
	}
}

func TestTableNeverIsWiderThanTheTerminal(t *testing.T) {
	t.Parallel()
	for width := 20; width <= 200; width++ {
		p, out := screen(t, width)
		p.Table(apps())
		for row := range strings.Lines(out.String()) {
			if w := Cells(strings.TrimSuffix(row, "\n")); w > width {
				t.Errorf("at %d columns a row is %d wide: %q", width, w, row)
			}
		}
	}
}

func TestTableCutsNeitherTheKeyNorInAPipe(t *testing.T) {
	t.Parallel()
	p, out := pipe(t)
	p.Records([][]string{{"todo-api", "a\tb\nc", ""}})
	if want := "todo-api\ta\\tb\\nc\t\n"; out.String() != want {
		t.Errorf("records are %q, want %q", out, want)
	}
}
