package cmd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/near"
	"github.com/pillion-dev/pillion/logs"
	"github.com/pillion-dev/pillion/tls/identity"
)

// A logChoice chooses the runs to show.
type logChoice struct {
	store     *logs.Store
	namespace string
	run       int // a number, or how many back among those that ended; 0: the present
	began     time.Time

	targets []logTarget      // nil: all apps
	highest map[logs.App]int // the highest run known, while following
	empty   bool             // nothing ever ran
}

// A logTarget is an app, or one instance of it, that was asked for.
type logTarget struct {
	app, namespace, instance string
}

// parseTarget reads app, app.namespace or app/instance.
func parseLogTarget(given string) logTarget {
	var t logTarget
	t.app, t.instance, _ = strings.Cut(given, "/")
	t.app, t.namespace, _ = strings.Cut(t.app, ".")
	return t
}

func (t logTarget) has(app logs.App) bool {
	return t.app == app.Name && (t.namespace == "" || t.namespace == app.Namespace)
}

// first are the runs to begin with.
func (l *logChoice) first(args []string) ([]logs.RunInfo, error) {
	apps, err := l.apps()
	if err != nil {
		return nil, err
	}
	l.highest = map[logs.App]int{}
	for _, given := range args {
		l.targets = append(l.targets, parseLogTarget(given))
	}
	if len(args) == 0 {
		l.empty = len(apps) == 0
		return l.everyone(apps)
	}
	var all []logs.RunInfo
	for i, t := range l.targets {
		runs, err := l.of(args[i], t, apps)
		if err != nil {
			return nil, err
		}
		for _, run := range runs {
			if !slices.ContainsFunc(all, run.Same) {
				all = append(all, run)
			}
		}
	}
	return all, nil
}

// apps are the apps of the namespace that was asked for, or of all.
func (l *logChoice) apps() ([]logs.App, error) {
	apps, err := l.store.Apps()
	return slices.DeleteFunc(apps, func(a logs.App) bool {
		return l.namespace != "" && a.Namespace != l.namespace
	}), err
}

// everyone chooses the present runs of all that live, else the latest of each.
func (l *logChoice) everyone(apps []logs.App) ([]logs.RunInfo, error) {
	var live, latest []logs.RunInfo
	for _, app := range apps {
		runs, err := l.runs(app)
		if err != nil {
			return nil, err
		}
		if l.run != 0 {
			live = append(live, l.numbered(runs)...)
			continue
		}
		some, alive := present(runs)
		if alive {
			live = append(live, some...)
		}
		latest = append(latest, some...)
	}
	if l.run != 0 && len(live) == 0 && len(apps) > 0 {
		return nil, &apperr.Error{Reason: apperr.NoSuchApp, What: fmt.Sprintf("no app has a run %d", l.run)}
	}
	if len(live) > 0 || l.run != 0 {
		return live, nil
	}
	return latest, nil
}

// of chooses the runs of one target.
func (l *logChoice) of(given string, t logTarget, apps []logs.App) ([]logs.RunInfo, error) {
	var chosen, all []logs.RunInfo
	for _, app := range apps {
		if !t.has(app) {
			continue
		}
		runs, err := l.runs(app)
		if err != nil {
			return nil, err
		}
		all = append(all, runs...)
		if t.instance != "" {
			runs = slices.DeleteFunc(slices.Clone(runs), func(r logs.RunInfo) bool { return r.Instance != t.instance })
		}
		if l.run != 0 {
			chosen = append(chosen, l.numbered(runs)...)
			continue
		}
		some, _ := present(runs)
		chosen = append(chosen, some...)
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	return nil, l.missing(given, t, all, apps)
}

// missing says why a target has nothing to show.
func (l *logChoice) missing(given string, t logTarget, runs []logs.RunInfo, apps []logs.App) error {
	e := &apperr.Error{Reason: apperr.NoSuchApp}
	switch {
	case len(runs) == 0:
		e.What = fmt.Sprintf("no app %q has run here", given)
		var names []string
		for _, app := range apps {
			names = append(names, app.Name)
		}
		names = ui.Names(names)
		switch meant := near.Match(t.app, names); {
		case meant != "":
			e.Hint, e.Run = "did you mean "+meant+"?", []string{"pillion", "logs", meant}
		case len(names) > 0:
			e.Cause = "there are logs of " + someOf(names)
		case identity.CheckAppID(t.app) == nil:
			e.Hint = "start it with pillion run --app-id " + t.app + " -- <command>"
			e.Run = []string{"pillion", "run", "--app-id", t.app, "--", "<command>"}
		}
	case l.run != 0:
		e.What = fmt.Sprintf("%s has no run %d", given, l.run)
		switch {
		case l.run == -1:
			e.What = given + " has no run that ended"
		case l.run < 0:
			e.What = fmt.Sprintf("%s has fewer than %d runs that ended", given, -l.run)
		}
		e.Cause = fmt.Sprintf("its runs are %d to %d", runs[0].Run, runs[len(runs)-1].Run)
		if len(runs) == 1 {
			e.Cause = fmt.Sprintf("its only run is %d", runs[0].Run)
		}
	default:
		e.What = fmt.Sprintf("%s has no instance %q in its logs", t.app, t.instance)
		e.Cause = "its latest instance is " + runs[len(runs)-1].Instance
	}
	return e
}

// someOf are names for a sentence, and how many were left out.
func someOf(names []string) string {
	const shown = 5
	text := strings.Join(names[:min(len(names), shown)], ", ")
	if more := len(names) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// runs lists an app's runs and remembers the highest.
func (l *logChoice) runs(app logs.App) ([]logs.RunInfo, error) {
	runs, err := l.store.Runs(app)
	if len(runs) > 0 {
		l.highest[app] = runs[len(runs)-1].Run
	}
	return runs, err
}

// present chooses the live runs of an app, or else its latest.
func present(runs []logs.RunInfo) (chosen []logs.RunInfo, alive bool) {
	for _, run := range runs {
		if run.State == logs.Live {
			chosen = append(chosen, run)
		}
	}
	if len(chosen) == 0 && len(runs) > 0 {
		return runs[len(runs)-1:], false
	}
	return chosen, len(chosen) > 0
}

// numbered chooses the run that --run asks for.
func (l *logChoice) numbered(runs []logs.RunInfo) []logs.RunInfo {
	if l.run > 0 {
		return slices.DeleteFunc(slices.Clone(runs), func(r logs.RunInfo) bool { return r.Run != l.run })
	}
	ended := slices.DeleteFunc(slices.Clone(runs), func(r logs.RunInfo) bool { return r.State == logs.Live })
	if -l.run > len(ended) {
		return nil
	}
	return ended[len(ended)+l.run:][:1]
}

// newer are the runs that began while we follow. The reader knows which of
// them it has: two that begin at once may be seen in any order.
func (l *logChoice) newer() ([]logs.RunInfo, error) {
	apps, err := l.apps()
	if err != nil {
		return nil, err
	}
	var fresh []logs.RunInfo
	for _, app := range apps {
		if len(l.targets) > 0 && !slices.ContainsFunc(l.targets, func(t logTarget) bool { return t.has(app) }) {
			continue
		}
		runs, err := l.store.Newer(app, l.highest[app])
		if err != nil {
			return nil, err
		}
		for _, run := range runs {
			if l.wants(run) {
				fresh = append(fresh, run)
			}
		}
	}
	return fresh, nil
}

func (l *logChoice) wants(run logs.RunInfo) bool {
	return len(l.targets) == 0 || slices.ContainsFunc(l.targets, func(t logTarget) bool {
		return t.has(logs.App{Namespace: run.Namespace, Name: run.App}) && (t.instance == "" || t.instance == run.Instance)
	})
}

// completeLogs offers the apps that have logs.
func completeLogs(c *ui.Console) cobra.CompletionFunc {
	return func(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var out []cobra.Completion
		for _, run := range completable(c, nil) {
			if !slices.Contains(given, run.App) {
				out = append(out, cobra.CompletionWithDesc(run.App, runState(run)))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeRuns offers the runs of the apps that stand there already.
func completeRuns(c *ui.Console) cobra.CompletionFunc {
	return func(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		out := []cobra.Completion{cobra.CompletionWithDesc("-1", "the last that ended")}
		if len(given) == 0 {
			return out, cobra.ShellCompDirectiveNoFileComp
		}
		for _, run := range completable(c, given) {
			out = append(out, cobra.CompletionWithDesc(strconv.Itoa(run.Run), runState(run)))
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completable are the latest run of each app, or all runs of the given ones,
// newest first. What cannot be read is not offered.
func completable(c *ui.Console, given []string) []logs.RunInfo {
	m, err := findMachine(c)
	if err != nil {
		return nil
	}
	store, err := logs.Open(m.home.Logs(), logs.Limits{})
	if err != nil {
		return nil
	}
	apps, _ := store.Apps()
	var out []logs.RunInfo
	for _, app := range apps {
		if given != nil && !slices.Contains(given, app.Name) {
			continue
		}
		runs, _ := store.Runs(app)
		if given == nil && len(runs) > 0 {
			runs = runs[len(runs)-1:]
		}
		slices.Reverse(runs)
		out = append(out, runs...)
	}
	return out
}

// runState is a run in a few words.
func runState(run logs.RunInfo) string {
	switch run.State {
	case logs.Live:
		return "live since " + run.Start.Local().Format("15:04")
	case logs.Lost:
		return "lost " + run.End.Local().Format(time.DateTime)
	case logs.Ended:
	}
	return strings.TrimSpace("ended " + run.End.Local().Format(time.DateTime) + " " + run.Exit)
}
