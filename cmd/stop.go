package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/internal/rundir"
)

// ended is how an instance ended.
type ended struct {
	took   time.Duration
	calls  int      // finished while stopping
	killed []string // what had to be killed
}

// A stopFunc stops one instance and waits until it is gone. It tells meanwhile
// who or what is in the way.
type stopFunc func(ctx context.Context, e rundir.Entry, now bool, tell func(note string)) (ended, error)

type stopOptions struct {
	selection
	now    bool
	output string
}

func newStopCmd(c *ui.Console) *cobra.Command { return stopCmd(c, stopInstance) }

func stopCmd(c *ui.Console, stop stopFunc) *cobra.Command {
	var o stopOptions
	output := &outputValue{c: c, known: []string{"table", "json"}}
	cmd := &cobra.Command{
		Use:   "stop [flags] (<app-id> | <app-id>/<instance> | -f <file> | --all)...",
		Short: "Stop apps and all they started",
		Long: "Stop apps and all they started: gracefully, within the grace period of each, and wait. " +
			"In a pipe: tabs, the columns app, result, how, time, instance.",
		Example:           "pillion stop todo-api\npillion stop todo-api/9wd1x2c8\npillion stop -f dapr.yaml\npillion stop --all",
		ValidArgsFunction: completeApps(c),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.output = output.value
			o.appIDs = append(o.appIDs, args...)
			return runStop(cmd.Context(), c, stop, o)
		},
	}
	g := group(cmd, "Stop")
	o.addWays(g)
	g.on(&o.now, "now", "", "do not wait for calls: kill")
	o.addNamespace(g)
	g.texts(&o.appIDs, "app-id", "a", "<name> the app, as dapr stop has it")
	g.value(output, "output", "o", "<format> table or json [table]")
	return cmd
}

func runStop(ctx context.Context, c *ui.Console, stop stopFunc, o stopOptions) error {
	chosen, err := o.find(c, "stop")
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		nothingToDo(c, o.output)
		return nil
	}
	results := stopAll(ctx, c, stop, o, chosen)
	showStopped(c, o.output, results)
	for _, r := range results {
		if r.err != nil {
			return &ui.Exit{Status: exitFailed, Err: r.err}
		}
	}
	return nil
}

// stopped is what became of one instance.
type stopped struct {
	entry rundir.Entry
	ended
	err error
}

// stopAll stops the instances at the same time and says meanwhile for whom it
// waits, and who is in the way.
func stopAll(ctx context.Context, c *ui.Console, stop stopFunc, o stopOptions, chosen []rundir.Entry) []stopped {
	results := make([]stopped, len(chosen))
	waits := newWaits(chosen, "to end")
	_ = c.Err.Wait(ctx, waits.row, func(ctx context.Context) error { // the work below returns nil
		atOnce(len(chosen), func(i int) {
			how, err := stop(ctx, chosen[i], o.now, func(note string) { waits.note(i, note) })
			results[i] = stopped{entry: chosen[i], ended: how, err: err}
			waits.end(i)
		})
		return nil
	})
	return results
}

// result is the word for how it went, with what is worth saying about it.
func (r stopped) result() (mark ui.Mark, word, note string) {
	in := "in " + human.Took(r.took)
	switch {
	case r.err != nil:
		return ui.MarkFailed, "not stopped", ""
	case len(r.killed) > 0:
		return ui.MarkWarning, "killed", "after " + human.Took(r.took) + ": " + ui.Printable(strings.Join(r.killed, ", "))
	case r.calls > 0:
		return ui.MarkOK, "stopped", in + ", " + human.Count(r.calls, "call") + " finished"
	}
	return ui.MarkOK, "stopped", in
}

func showStopped(c *ui.Console, output string, results []stopped) {
	if output == "json" {
		showStoppedJSON(c, results)
		return
	}
	if !c.Out.TTY {
		rows := make([][]string, 0, len(results))
		for _, r := range results {
			_, word, _ := r.result()
			how := "TERM"
			if len(r.killed) > 0 {
				how = "KILL"
			}
			if r.err != nil {
				how = ""
			}
			rows = append(rows, []string{r.entry.App, word, how, human.Took(r.took), r.entry.ID})
		}
		c.Out.Records(rows)
		return
	}
	t := ui.Table{NoHead: true, Columns: []ui.Column{{}, {}, {Shrink: ui.AtEnd}}}
	entries := make([]rundir.Entry, len(results))
	for i, r := range results {
		entries[i] = r.entry
	}
	names := instanceNames(entries)
	for i, r := range results {
		mark, word, note := r.result()
		name := names[i]
		t.Rows = append(t.Rows, []ui.Cell{{Text: c.Out.Mark(mark) + " " + name}, {Text: word}, {Text: note}})
	}
	c.Out.Table(t)
}

func showStoppedJSON(c *ui.Console, results []stopped) {
	type row struct {
		AppID     string   `json:"appId"`
		Instance  string   `json:"instance"`
		Namespace string   `json:"namespace"`
		Result    string   `json:"result"`
		TookMS    float64  `json:"tookMs"`
		Calls     int      `json:"callsFinished"`
		Killed    []string `json:"killed"`
		Error     *string  `json:"error"`
	}
	rows := make([]row, 0, len(results))
	for _, r := range results {
		_, word, _ := r.result()
		one := row{
			AppID: r.entry.App, Instance: r.entry.ID, Namespace: r.entry.Namespace, Result: word,
			TookMS: float64(r.took.Microseconds()) / 1000, Calls: r.calls, Killed: append([]string{}, r.killed...),
		}
		if r.err != nil {
			one.Error = known(fmt.Sprint(r.err))
		}
		rows = append(rows, one)
	}
	showJSON(c, rows)
}
