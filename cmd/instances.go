package cmd

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
)

// maxAtOnce bounds for how many instances something is done at a time.
const maxAtOnce = 32

// A selection is the instances that stop or restart is about.
type selection struct {
	all       bool
	appIDs    []string
	namespace string
	runFile   string
}

// addWays adds the flags that take the place of names.
func (o *selection) addWays(g flagGroup) {
	g.on(&o.all, "all", "", "every app of this home")
	g.text(&o.runFile, "run-file", "f", "<file> every app of this run file")
}

func (o *selection) addNamespace(g flagGroup) {
	g.text(&o.namespace, "namespace", "n", "<name> only this group of apps [all]")
}

// find are the live instances that command is about.
func (o selection) find(c *ui.Console, command string) ([]rundir.Entry, error) {
	if o.ways() != 1 {
		return nil, usageError(command+" takes app ids, or -f, or --all", "pillion list shows what runs", "pillion", "list")
	}
	m, err := findMachine(c)
	if err != nil {
		return nil, err
	}
	live, err := m.live(false)
	if err != nil {
		return nil, err
	}
	return o.choose(live, command)
}

// ways counts the ways in which it was said which are meant.
func (o selection) ways() int {
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
// anything is done.
func (o selection) choose(live []rundir.Entry, command string) ([]rundir.Entry, error) {
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
			return nil, noSuchApp(name, live, "pillion", command)
		}
	}
	return chosen, nil
}

// nothingToDo is the answer where there is nothing to do.
func nothingToDo(c *ui.Console, output string) {
	if output == "json" {
		c.Out.Line("[]")
	}
	c.Err.Say(ui.NoMark, "no apps run here")
}

// instanceNames are the names people are shown: the app's, with the instance's
// where there are several of one.
func instanceNames(entries []rundir.Entry) []string {
	count := map[string]int{}
	for _, e := range entries {
		count[e.App]++
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		if names[i] = e.App; count[e.App] > 1 {
			names[i] += "/" + e.ID
		}
	}
	return names
}

// atOnce does n pieces of work at the same time, within bounds, and waits for
// all.
func atOnce(n int, work func(i int)) {
	slots := make(chan struct{}, maxAtOnce)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			work(i)
		})
	}
	all.Wait()
}

// waitingFor is who is not done yet.
type waitingFor struct {
	entries []rundir.Entry
	what    string // "to end"

	mu    sync.Mutex // guards what follows
	notes []string
	over  []bool
}

func newWaits(entries []rundir.Entry, what string) *waitingFor {
	return &waitingFor{entries: entries, what: what, notes: make([]string, len(entries)), over: make([]bool, len(entries))}
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
	return append([]string{"waiting for " + strings.Join(slices.Compact(names), ", ") + " " + w.what, human.Age(waited)}, notes...)
}

// showJSON prints an answer as JSON.
func showJSON(c *ui.Console, rows any) {
	data, err := json.MarshalIndent(rows, "", "  ")
	if err == nil { // plain values always marshal
		c.Out.Line(string(data))
	}
}
