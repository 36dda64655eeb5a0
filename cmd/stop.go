package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
)

// maxStops bounds how many instances are stopped at a time.
const maxStops = 32

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
	all, now  bool
	appIDs    []string
	namespace string
	output    string
	runFile   string
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
			return runStop(cmd.Context(), c, stop, stopRequestOf(o, args))
		},
	}
	g := group(cmd, "Stop")
	g.on(&o.all, "all", "", "every app of this home")
	g.text(&o.runFile, "run-file", "f", "<file> every app of this run file")
	g.on(&o.now, "now", "", "do not wait for calls: kill")
	g.text(&o.namespace, "namespace", "n", "<name> only this group of apps [all]")
	g.texts(&o.appIDs, "app-id", "a", "<name> the app, as dapr stop has it")
	g.value(output, "output", "o", "<format> table or json [table]")
	return cmd
}

func stopRequestOf(o stopOptions, args []string) stopOptions {
	o.appIDs = append(slices.Clone(o.appIDs), args...)
	return o
}

func runStop(ctx context.Context, c *ui.Console, stop stopFunc, o stopOptions) error {
	if o.ways() != 1 {
		return usageError("stop takes app ids, or -f, or --all", "pillion list shows what runs", "pillion", "list")
	}
	m, err := findMachine(c)
	if err != nil {
		return err
	}
	live, err := m.live(false)
	if err != nil {
		return err
	}
	chosen, err := choose(live, o)
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		if o.output == "json" {
			c.Out.Line("[]")
		}
		c.Err.Say(ui.NoMark, "no apps run here")
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

// ways counts the ways in which it was said what to stop.
func (o stopOptions) ways() int {
	n := 0
	for _, said := range []bool{o.all, len(o.appIDs) > 0, o.runFile != ""} {
		if said {
			n++
		}
	}
	return n
}

// ofFile are the instances that were started from a run file.
func ofFile(live []rundir.Entry, file string) ([]rundir.Entry, error) {
	path, err := config.StackPath(file)
	if err != nil {
		return nil, err
	}
	var chosen []rundir.Entry
	for _, e := range live {
		if e.RunFile == path {
			chosen = append(chosen, e)
		}
	}
	if len(chosen) == 0 {
		return nil, &apperr.Error{
			Reason: apperr.NoSuchApp, What: "no app of " + file + " runs here",
			Hint: "pillion list shows what runs", Run: []string{"pillion", "list"},
		}
	}
	return chosen, nil
}

// choose finds the instances that were named. All names must be right before
// anything is stopped.
func choose(live []rundir.Entry, o stopOptions) ([]rundir.Entry, error) {
	live = slices.DeleteFunc(slices.Clone(live), func(e rundir.Entry) bool {
		return o.namespace != "" && e.Namespace != o.namespace
	})
	switch {
	case o.all:
		return live, nil
	case o.runFile != "":
		return ofFile(live, o.runFile)
	}
	var chosen []rundir.Entry
	for _, name := range o.appIDs {
		app, id, one := strings.Cut(name, "/")
		found := false
		for _, e := range live {
			if e.App != app || one && e.ID != id {
				continue
			}
			found = true
			if !slices.ContainsFunc(chosen, func(c rundir.Entry) bool { return c.ID == e.ID }) {
				chosen = append(chosen, e)
			}
		}
		if !found {
			return nil, noSuchApp(name, live, "pillion", "stop")
		}
	}
	return chosen, nil
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
	waits := waitingFor{entries: chosen, notes: make([]string, len(chosen)), over: make([]bool, len(chosen))}
	_ = c.Err.Wait(ctx, waits.row, func(ctx context.Context) error { // the work below returns nil
		slots := make(chan struct{}, maxStops)
		var all sync.WaitGroup
		for i, e := range chosen {
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				how, err := stop(ctx, e, o.now, func(note string) { waits.note(i, note) })
				results[i] = stopped{entry: e, ended: how, err: err}
				waits.end(i)
			})
		}
		all.Wait()
		return nil
	})
	return results
}

// waitingFor is who has not ended yet.
type waitingFor struct {
	entries []rundir.Entry

	mu    sync.Mutex // guards what follows
	notes []string
	over  []bool
}

func (w *waitingFor) note(i int, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes[i] = text
}

func (w *waitingFor) end(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over[i] = true
}

func (w *waitingFor) row(waited time.Duration) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names, notes []string
	for i, e := range w.entries {
		if w.over[i] {
			continue
		}
		names = append(names, e.App)
		if w.notes[i] != "" {
			notes = append(notes, w.notes[i])
		}
	}
	if len(names) == 0 {
		return nil
	}
	return append([]string{"waiting for " + strings.Join(slices.Compact(names), ", ") + " to end", human.Age(waited)}, notes...)
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
	apps := map[string]int{}
	for _, r := range results {
		apps[r.entry.App]++
	}
	for _, r := range results {
		mark, word, note := r.result()
		name := r.entry.App
		if apps[name] > 1 {
			name += "/" + r.entry.ID
		}
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
	data, err := json.MarshalIndent(rows, "", "  ")
	if err == nil { // plain values always marshal
		c.Out.Line(string(data))
	}
}
