package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/tls/ca"
)

func newUninstallCmd(c *ui.Console) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "uninstall [flags]",
		Short: "Remove what pillion keeps on this machine",
		Long: "Remove what pillion keeps on this machine: the home with authority, configuration and logs. " +
			"It asks first, and refuses while apps run.",
		Example: "pillion uninstall\npillion uninstall --yes",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runUninstall(cmd.Context(), c, yes) },
	}
	g := group(cmd, "Uninstall")
	g.on(&yes, "yes", "y", "do not ask")
	g.on(new(bool), "all", "", "taken from dapr uninstall: all is removed")
	cmd.Flags().Lookup("all").Hidden = true
	return cmd
}

func runUninstall(ctx context.Context, c *ui.Console, yes bool) error {
	m, err := findMachine(c)
	if err != nil {
		return err
	}
	shown := human.Tilde(m.home.Path, config.UserHome(c.Getenv))
	owned, size, err := inHome(m.home)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(owned) == 0 {
		c.Err.Say(ui.NoMark, "there is nothing at "+shown)
		return nil
	}
	if err != nil {
		return err
	}
	if err := nothingRuns(m); err != nil {
		return err
	}
	if !yes {
		sure, err := c.Confirm(ctx, "Remove "+shown+removed(m.home, size)+"?", "--yes")
		if err != nil {
			return err
		}
		if !sure {
			c.Err.Say(ui.NoMark, "nothing was removed")
			return &ui.Exit{Status: exitFailed}
		}
		// Time has passed: an app may have started meanwhile.
		if err := nothingRuns(m); err != nil {
			return err
		}
	}
	return removeHome(c, m, owned, shown)
}

// homeFiles are what pillion keeps in its home. Nothing else is ever removed:
// PILLION_HOME may name a folder that holds more.
var homeFiles = []string{"config.yaml", "resources", "certs", "logs", "seen.json", "state.db", "state.db-wal", "state.db-shm"}

// inHome are the paths that are ours, and their size.
func inHome(home config.Home) (owned []string, size int64, err error) {
	if _, err := os.Stat(home.Path); err != nil {
		return nil, 0, err
	}
	for _, name := range homeFiles {
		path := filepath.Join(home.Path, name)
		if _, err := os.Lstat(path); err != nil {
			continue
		}
		owned = append(owned, path)
		err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // what cannot be read is not counted
			}
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				size += info.Size()
			}
			return nil
		})
		if err != nil {
			return nil, 0, fmt.Errorf("look through %s: %w", path, err)
		}
	}
	return owned, size, nil
}

// removed says what would be lost.
func removed(home config.Home, size int64) string {
	var what []string
	if authority, err := ca.Open(home.Certs(), ca.Options{}); err == nil {
		what = append(what, "the authority of "+authority.TrustDomain())
	}
	if size > 0 {
		what = append(what, human.Size(size)+" of files and logs")
	}
	if len(what) == 0 {
		return ""
	}
	return ", with " + strings.Join(what, " and ")
}

func nothingRuns(m machine) error {
	live, err := m.live(false)
	if err != nil {
		return err
	}
	if len(live) == 0 {
		return nil
	}
	var names []string
	for _, e := range live {
		names = append(names, e.App)
	}
	return &apperr.Error{
		Reason: apperr.Internal,
		What:   "nothing is removed while apps run",
		Cause:  strings.Join(slices.Compact(names), ", ") + " still here",
		Hint:   "pillion stop --all",
		Run:    []string{"pillion", "stop", "--all"},
	}
}

func removeHome(c *ui.Console, m machine, owned []string, shown string) error {
	trust := ""
	if authority, err := ca.Open(m.home.Certs(), ca.Options{}); err == nil {
		trust = authority.Fingerprint()
	}
	for _, path := range owned {
		if err := os.RemoveAll(path); err != nil {
			return &apperr.Error{
				Reason: apperr.OwnConfig, Err: err,
				What: path + " cannot be removed", Cause: err.Error(),
			}
		}
	}
	if trust != "" {
		// The runtime folder goes if it is empty; a live app would keep it.
		if dir, err := rundir.Open(m.base, trust); err == nil {
			_, _ = dir.Entries() // sweeps what dead instances left
			_ = os.Remove(dir.Path())
		}
	}
	_ = os.Remove(m.home.Path) // does nothing where files of others are left
	if _, err := os.Lstat(m.home.Path); err == nil {
		c.Err.Say(ui.NoMark, "removed what was pillion's", shown+" stays: it holds other files")
		return nil
	}
	c.Err.Say(ui.MarkOK, "removed "+shown)
	return nil
}
