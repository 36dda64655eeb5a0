package cmd

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/near"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/tls/ca"
)

// A machine is what commands read of this one: the home and the runtime
// folders.
type machine struct {
	home config.Home
	base string
}

func findMachine(c *ui.Console) (machine, error) {
	home, err := config.FindHome(c.Getenv)
	return machine{home: home, base: rundir.Base(c.Getenv)}, err
}

// live are the instances of this home's trust domain, or of all of this user's,
// ordered by app, namespace and start.
func (m machine) live(allHomes bool) ([]rundir.Entry, error) {
	trusts, err := rundir.Trusts(m.base)
	if err != nil {
		return nil, err
	}
	mine := func(rundir.Entry) bool { return true }
	if !allHomes {
		authority, err := ca.Open(m.home.Certs(), ca.Options{})
		if err != nil {
			// An authority that is damaged, or was removed, is no reason not to
			// find and stop what runs.
			mine = func(e rundir.Entry) bool { return e.Home == m.home.Path }
		} else {
			own := authority.Fingerprint()
			trusts = slices.DeleteFunc(trusts, func(t string) bool { return t != own })
		}
	}
	var out []rundir.Entry
	for _, trust := range trusts {
		dir, err := rundir.Open(m.base, trust)
		if err != nil {
			return nil, err
		}
		entries, err := dir.Entries()
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if mine(e) {
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b rundir.Entry) int {
		return cmp.Or(strings.Compare(a.App, b.App), strings.Compare(a.Namespace, b.Namespace),
			a.Since.Compare(b.Since), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

// noSuchApp says that no app of that name runs here, with the near match.
func noSuchApp(name string, live []rundir.Entry, run ...string) error {
	e := &apperr.Error{
		Reason: apperr.NoSuchApp,
		What:   `no app "` + name + `" runs here`,
		Hint:   "pillion list shows what runs",
		Run:    []string{"pillion", "list"},
	}
	var names []string
	for _, one := range live {
		names = append(names, one.App)
	}
	if len(names) == 0 {
		e.Cause = "nothing runs here"
		e.Hint, e.Run = "", nil
		return e
	}
	if meant := near.Match(name, names); meant != "" {
		e.Run = append(run, meant)
		e.Hint = "did you mean " + meant + "? " + strings.Join(e.Run, " ")
	}
	return e
}

// completeApps completes the ids of live apps, described.
func completeApps(c *ui.Console) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		m, err := findMachine(c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		live, err := m.live(false)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for _, e := range live {
			text := e.App + "\t" + e.State
			if e.AppPort != 0 {
				text += " · " + portText(e.AppPort)
			}
			if !slices.Contains(args, e.App) && !slices.ContainsFunc(out, func(s string) bool {
				return strings.HasPrefix(s, e.App+"\t")
			}) {
				out = append(out, text)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeTarget completes the app of `invoke`, and nothing after it.
func completeTarget(c *ui.Console) cobra.CompletionFunc {
	apps := completeApps(c)
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return apps(cmd, args, typed)
	}
}
