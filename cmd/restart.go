package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/instance"
)

// A restartFunc replaces the process of one instance's app and waits until the
// new one is ready. It tells meanwhile how far it is.
type restartFunc func(ctx context.Context, e rundir.Entry, tell func(note string)) (instance.Restarted, error)

type restartOptions struct {
	selection
	output string
}

func newRestartCmd(c *ui.Console) *cobra.Command { return restartCmd(c, restartInstance) }

func restartCmd(c *ui.Console, restart restartFunc) *cobra.Command {
	var o restartOptions
	output := &outputValue{c: c, known: []string{"table", "json"}}
	cmd := &cobra.Command{
		Use:   "restart [flags] (<app-id> | <app-id>/<instance> | -f <file> | --all)...",
		Short: "Start apps anew, without a failed call",
		Long: "Start apps anew, built first where they are, and wait until they are ready. Sidecar and identity stay, " +
			"and calls are held meanwhile. Instances of one app are restarted one after the other, until one fails. " +
			"In a pipe: tabs, the columns app, result, time, instance.",
		Example:           "pillion restart todo-api\npillion restart todo-api/9wd1x2c8\npillion restart -f dapr.yaml\npillion restart --all",
		ValidArgsFunction: completeApps(c),
		Annotations:       map[string]string{noteExits: exitsRestart},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.output = output.value
			o.appIDs = append(o.appIDs, args...)
			return runRestart(cmd.Context(), c, restart, o)
		},
	}
	g := group(cmd, "Restart")
	o.addWays(g)
	o.addNamespace(g)
	g.value(output, "output", "o", "<format> table or json [table]")
	return cmd
}

func runRestart(ctx context.Context, c *ui.Console, restart restartFunc, o restartOptions) error {
	chosen, err := o.find(c, "restart")
	if err != nil {
		return err
	}
	for _, e := range chosen {
		if len(e.Command) == 0 && len(o.appIDs) > 0 {
			return instance.NotRun(e.App) // before anything is done
		}
	}
	if len(chosen) == 0 {
		nothingToDo(c, o.output)
		return nil
	}
	results := restartAll(ctx, c, restart, chosen)
	showRestarted(c, o.output, results)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var failed []error
	for i, name := range instanceNames(chosen) {
		if err := results[i].err; err != nil {
			failed = append(failed, namedError(name, err))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return &ui.Exit{Status: exitFailed, Err: err}
	}
	return nil
}

// restarted is what became of one instance.
type restarted struct {
	entry rundir.Entry
	instance.Restarted
	err error
	// left is why it was left as it was.
	left string
}

// restartAll restarts different apps at the same time, and the instances of one
// app one after the other: while one is away the others take its calls.
func restartAll(ctx context.Context, c *ui.Console, restart restartFunc, chosen []rundir.Entry) []restarted {
	results := make([]restarted, len(chosen))
	names, apps := instanceNames(chosen), byApp(chosen)
	waits := newWaits(chosen, "to be ready")
	_ = c.Err.Wait(ctx, waits.row, func(ctx context.Context) error { // the work below returns nil
		atOnce(len(apps), func(n int) {
			left := ""
			for _, i := range apps[n] {
				r := restarted{entry: chosen[i], left: left}
				switch {
				case left != "":
				case len(r.entry.Command) == 0:
					r.left = "pillion does not run its app"
				default:
					r.Restarted, r.err = restart(ctx, r.entry, func(note string) { waits.note(i, note) })
				}
				switch {
				case ctx.Err() != nil:
					left = "nobody waited for it"
				case r.err != nil:
					left = names[i] + " was not restarted"
				}
				results[i] = r
				waits.end(i)
			}
		})
		return nil
	})
	return results
}

// namedError says whose err is, where it does not say so itself.
func namedError(name string, err error) error {
	e := *apperr.From(err)
	app, _, _ := strings.Cut(name, "/")
	if !strings.HasPrefix(e.What, app) {
		e.What = name + ": " + e.What
	}
	return &e
}

// byApp are the places of each app's instances. Live instances come in the
// order of their apps.
func byApp(entries []rundir.Entry) [][]int {
	var apps [][]int
	at := map[[2]string]int{}
	for i, e := range entries {
		key := [2]string{e.App, e.Namespace}
		n, known := at[key]
		if !known {
			n = len(apps)
			at[key] = n
			apps = append(apps, nil)
		}
		apps[n] = append(apps[n], i)
	}
	return apps
}

// result is the word for how it went, with what is worth saying about it.
func (r restarted) result() (mark ui.Mark, word, note string) {
	switch {
	case r.left != "":
		return ui.MarkSkipped, "left as it is", r.left
	case errors.Is(r.err, context.Canceled):
		return ui.MarkSkipped, "restarting", "nobody waits for it any more"
	case r.err != nil:
		return ui.MarkFailed, "not restarted", ""
	}
	return ui.MarkOK, "restarted", "in " + human.Took(r.Took)
}

// took is how long it took, where that is known.
func (r restarted) took() time.Duration {
	if r.err != nil {
		return 0
	}
	return r.Took
}

func showRestarted(c *ui.Console, output string, results []restarted) {
	entries := make([]rundir.Entry, len(results))
	for i, r := range results {
		entries[i] = r.entry
	}
	switch {
	case output == "json":
		showRestartedJSON(c, results)
	case !c.Out.TTY:
		rows := make([][]string, 0, len(results))
		for _, r := range results {
			_, word, _ := r.result()
			took := ""
			if r.took() > 0 {
				took = human.Took(r.took())
			}
			rows = append(rows, []string{r.entry.App, word, took, r.entry.ID})
		}
		c.Out.Records(rows)
	default:
		t := ui.Table{NoHead: true, Columns: []ui.Column{{}, {}, {Shrink: ui.AtEnd}}}
		names := instanceNames(entries)
		for i, r := range results {
			mark, word, note := r.result()
			t.Rows = append(t.Rows, []ui.Cell{{Text: c.Out.Mark(mark) + " " + names[i]}, {Text: word}, {Text: note}})
		}
		c.Out.Table(t)
	}
}

func showRestartedJSON(c *ui.Console, results []restarted) {
	type row struct {
		AppID     string   `json:"appId"`
		Instance  string   `json:"instance"`
		Namespace string   `json:"namespace"`
		Result    string   `json:"result"`
		TookMS    *float64 `json:"tookMs"`
		Restarts  *int     `json:"restarts"`
		Error     *string  `json:"error"`
	}
	rows := make([]row, 0, len(results))
	for _, r := range results {
		_, word, _ := r.result()
		one := row{
			AppID: r.entry.App, Instance: r.entry.ID, Namespace: r.entry.Namespace, Result: word,
			TookMS: known(float64(r.took().Microseconds()) / 1000), Restarts: known(r.Restarts),
		}
		if r.err != nil {
			one.Error = known(fmt.Sprint(r.err))
		}
		rows = append(rows, one)
	}
	showJSON(c, rows)
}
