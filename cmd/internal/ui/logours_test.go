package ui

import (
	"strings"
	"testing"
	"time"
)

const readyLine = "✓ todo-api is ready · app 8000 · http 3500 · grpc 50001 · spiffe://ada.local/ns/default/todo-api · found by local, mdns"

func TestOurLinesInALogLookAsTheyDidWhenTheAppRan(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{
		80: `pillion: ✓ todo-api is ready · app 8000 · http 3500 · grpc 50001
         spiffe://ada.local/ns/default/todo-api · found by local, mdns
pillion: warning: todo-api listens on 8002, not 8001
         cause  it opened 8002 and nothing else
         hint   give --app-port 8002, or leave the flag out
`,
		40: `pillion: ✓ todo-api is ready · app 8000
  http 3500 · grpc 50001
  spiffe://ada.local/ns/default/todo-api
  found by local, mdns
pillion: warning: todo-api listens on
  8002, not 8001
  cause  it opened 8002 and nothing else
  hint   give --app-port 8002, or leave
    the flag out
`,
	} {
		if got := ourLog(t, width, LogOptions{}, ""); got != want {
			t.Errorf("at %d columns:\n%swant\n%s", width, got, want)
		}
	}
	want := `todo-api │ pillion: ✓ todo-api is ready · app 8000 · http 3500 · grpc 50001
         │          spiffe://ada.local/ns/default/todo-api
         │          found by local, mdns
todo-api │ pillion: warning: todo-api listens on 8002, not 8001
         │          cause  it opened 8002 and nothing else
         │          hint   give --app-port 8002, or leave the flag out
`
	if got := ourLog(t, 80, LogOptions{Names: true}, "todo-api"); got != want {
		t.Errorf("beside a name:\n%swant\n%s", got, want)
	}
}

func ourLog(t *testing.T, width int, opts LogOptions, who string) string {
	t.Helper()
	p, out := screen(t, width)
	opts.Now = time.Now
	v := NewLogView(p, opts, nil)
	for _, text := range []string{readyLine, "warning: todo-api listens on 8002, not 8001; cause: it opened 8002 and nothing else; hint: give --app-port 8002, or leave the flag out"} {
		if err := v.Row(LogRow{Who: who, Time: time.Now(), Ours: true, Text: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Flush(); err != nil {
		t.Fatal(err)
	}
	_, rows, _ := strings.Cut(out.String(), "\n") // the rule with the time
	return rows
}

func TestOurLinesInALogArePlainInAPipe(t *testing.T) {
	t.Parallel()
	p, out := pipe(t)
	v := NewLogView(p, LogOptions{Now: time.Now}, nil)
	if err := v.Row(LogRow{Time: time.Now(), Ours: true, Text: []byte(readyLine)}); err != nil {
		t.Fatal(err)
	}
	if err := v.Flush(); err != nil {
		t.Fatal(err)
	}
	want := "pillion: todo-api is ready, app 8000, http 3500, grpc 50001, spiffe://ada.local/ns/default/todo-api, found by local, mdns\n"
	if out.String() != want {
		t.Errorf("shown %q, want %q", out, want)
	}
}

func TestTheNameIsNotSaidTwice(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"✓ todo-api is ready · app 8000":        "✓ ready · app 8000",
		"✗ todo-api ended · exit 1":             "✗ ended · exit 1",
		"todo-api is starting":                  "starting",
		"stopping todo-api · 2 calls in flight": "stopping · 2 calls in flight",
		"✓ todo-api's sidecar is up":            "✓ todo-api's sidecar is up",
	} {
		if got := Shorter(in, "todo-api"); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestMoreFactsBeginARowOfTheirOwn(t *testing.T) {
	t.Parallel()
	facts, more := []string{"todo-api is starting", "waiting for it to listen"}, []string{"http 3500", "grpc 50001"}
	for width, want := range map[int]string{
		80:  "pillion: todo-api is starting · waiting for it to listen\n         http 3500 · grpc 50001\n",
		160: "pillion: todo-api is starting · waiting for it to listen · http 3500 · grpc 50001\n",
	} {
		p, out := screen(t, width)
		p.SayMore(NoMark, facts, more)
		if out.String() != want {
			t.Errorf("at %d columns:\n%swant\n%s", width, out, want)
		}
	}
}

func TestOurLinesStayBesideTheGutter(t *testing.T) {
	t.Parallel()
	rows := ourLog(t, 50, LogOptions{Names: true}, "todo-api")
	for row := range strings.Lines(rows) {
		if row = strings.TrimSuffix(row, "\n"); Cells(row) > 50 || !strings.Contains(row, "│") {
			t.Errorf("the row %q is wider than 50 columns, or outside the gutter", row)
		}
	}
}
