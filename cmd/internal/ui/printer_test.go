package ui

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/pillion-dev/pillion/internal/apperr"
)

func TestSayFoldsBetweenFactsOnATerminal(t *testing.T) {
	t.Parallel()
	facts := []string{"todo-api is ready", "app 8000", "http 3500", "grpc 50001", "spiffe://ada.local/ns/default/todo-api"}
	for width, want := range map[int]string{
		80: "pillion: ✓ todo-api is ready · app 8000 · http 3500 · grpc 50001\n" +
			"         spiffe://ada.local/ns/default/todo-api\n",
		160: "pillion: ✓ todo-api is ready · app 8000 · http 3500 · grpc 50001 · spiffe://ada.local/ns/default/todo-api\n",
		40: "pillion: ✓ todo-api is ready · app 8000\n" +
			"  http 3500 · grpc 50001\n" +
			"  spiffe://ada.local/ns/default/todo-api\n",
	} {
		p, out := screen(t, width)
		p.Say(MarkOK, facts...)
		if out.String() != want {
			t.Errorf("at %d columns:\n%swant\n%s", width, out, want)
		}
	}
}

func TestSayIsOneASCIIRowInAPipe(t *testing.T) {
	t.Parallel()
	p, out := pipe(t)
	p.Say(MarkFailed, "worker ended", "", "exit 1", "ran 4.2s – 3µs · x")
	if want := "pillion: worker ended, exit 1, ran 4.2s - 3us, x\n"; out.String() != want {
		t.Errorf("said %q, want %q", out, want)
	}
}

func unreachable() *apperr.Error {
	return &apperr.Error{
		Reason: apperr.PeerUnreachable,
		What:   "notification-service could not be reached",
		Cause:  "127.0.0.1:41233 refused the connection; its process ended 4s ago, exit 1",
		Hint:   "pillion logs notification-service --run -1",
		Run:    []string{"pillion", "logs", "notification-service", "--run", "-1"},
	}
}

func TestAnErrorSaysWhatWhereWhyAndWhatNext(t *testing.T) {
	t.Parallel()
	for width, want := range map[int]string{
		80: `pillion: error: notification-service could not be reached
         hop    sidecar ✓ → discovery ✓ → network ✗
         cause  127.0.0.1:41233 refused the connection; its process ended 4s
                ago, exit 1
         hint   pillion logs notification-service --run -1
`,
		40: `pillion: error: notification-service
  could not be reached
  hop    sidecar ✓ → discovery ✓ →
    network ✗
  cause  127.0.0.1:41233 refused the
    connection; its process ended 4s
    ago, exit 1
  hint   pillion logs
    notification-service --run -1
`,
	} {
		p, out := screen(t, width)
		p.Fail(unreachable())
		if out.String() != want {
			t.Errorf("at %d columns:\n%swant\n%s", width, out, want)
		}
	}
}

func TestAnErrorInAPipeIsOneRecordARow(t *testing.T) {
	t.Parallel()
	p, out := pipe(t)
	p.Fail(unreachable())
	want := `pillion: error: notification-service could not be reached
pillion: hop: network
pillion: cause: 127.0.0.1:41233 refused the connection; its process ended 4s ago, exit 1
pillion: hint: pillion logs notification-service --run -1
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestNoRowIsWiderThanTheTerminal(t *testing.T) {
	t.Parallel()
	for _, width := range []int{20, 40, 48, 80, 160} {
		p, out := screen(t, width)
		p.Fail(unreachable())
		p.Warn(&apperr.Error{What: "todo-api listens on 8080, not 8000", Cause: "it opened 127.0.0.1:8080 and nothing else", Hint: "give --app-port 8080, or leave the flag out"})
		p.Say(MarkOK, "a b c d e f g h i j k l m n o p q r s t u v w x y z", "two", "three")
		p.Paragraph("a sentence that is long enough to be folded at twenty and at forty columns, too")
		for row := range strings.Lines(out.String()) {
			row = strings.TrimSuffix(row, "\n")
			if Cells(row) > width && len(strings.Fields(row)) > 1 {
				t.Errorf("at %d columns the row %q is %d wide", width, row, Cells(row))
			}
			if strings.TrimRight(row, " ") != row {
				t.Errorf("the row %q ends in blanks", row)
			}
		}
	}
}

func TestReportGivesStatusAndAllMistakes(t *testing.T) {
	t.Parallel()
	usage := &apperr.Error{Reason: apperr.Usage, What: "no flag --x"}
	for name, c := range map[string]struct {
		err  error
		want int
		text string
	}{
		"nil":        {nil, 0, ""},
		"usage":      {usage, 2, "pillion: error: no flag --x\n"},
		"two":        {errors.Join(usage, &apperr.Error{Reason: apperr.Usage, What: "no flag --y"}), 2, "pillion: error: no flag --x\npillion: error: no flag --y\n"},
		"exit":       {&Exit{Status: 7}, 7, ""},
		"exit, said": {&Exit{Status: 125, Err: usage}, 125, "pillion: error: no flag --x\n"},
		"unmarked":   {errors.New("boom"), 1, "pillion: error: internal: boom\n"},
		"Ctrl-C":     {context.Canceled, 130, ""},
		"cancelled":  {&apperr.Error{Reason: apperr.Cancelled, What: "cancelled"}, 130, ""},
		"no app":     {&apperr.Error{Reason: apperr.NoSuchApp, What: "no app"}, 3, "pillion: error: no app\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			c2 := NewConsole(Streams{Out: &strings.Builder{}, Err: &out})
			if got := c2.Report(c.err); got != c.want {
				t.Errorf("status %d, want %d", got, c.want)
			}
			if out.String() != c.text {
				t.Errorf("said %q, want %q", out.String(), c.text)
			}
		})
	}
}

func TestReportIsOneJSONObjectWhereJSONWasAskedFor(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	c := NewConsole(Streams{Out: &strings.Builder{}, Err: &out})
	c.JSON = true
	c.Report(unreachable())
	var got map[string]map[string]any
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatalf("%q: %v", out.String(), err)
	}
	for key, want := range map[string]any{
		"kind": "PEER_UNREACHABLE", "hop": "network", "exitStatus": 72.0,
		"message": "notification-service could not be reached",
	} {
		if got["error"][key] != want {
			t.Errorf("%s is %v, want %v", key, got["error"][key], want)
		}
	}
	if strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%q is not one line", out.String())
	}
}
