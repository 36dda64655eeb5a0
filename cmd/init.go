package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/atomicfile"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/tls/ca"
	"github.com/pillion-dev/pillion/tls/identity"
)

type initOptions struct {
	trustDomain string
	output      string
}

func newInitCmd(c *ui.Console) *cobra.Command {
	var o initOptions
	output := &outputValue{c: c, known: []string{"table", "json"}}
	cmd := &cobra.Command{
		Use:   "init [flags]",
		Short: "Make home, authority and configuration ahead of time",
		Long: "Make home, authority and configuration ahead of time. Nobody must: the first run makes what it needs. " +
			"What is there already is kept.",
		Example: "pillion init\npillion init --trust-domain ada.local",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.output = output.value
			return runInit(cmd.Context(), c, o)
		},
	}
	g := group(cmd, "Init")
	g.text(&o.trustDomain, "trust-domain", "", "<name> whose authority it is [public]")
	g.value(output, "output", "o", "<format> table or json [table]")
	return cmd
}

// made is one thing init looked after.
type made struct {
	Thing string `json:"thing"`
	Path  string `json:"path"`
	Made  bool   `json:"made"`
	Note  string `json:"note"`
}

func runInit(ctx context.Context, c *ui.Console, o initOptions) error {
	if o.trustDomain != "" {
		if err := identity.CheckTrustDomain(o.trustDomain); err != nil {
			return usageError("--trust-domain: "+err.Error(), "")
		}
	}
	home, err := config.FindHome(c.Getenv)
	if err != nil {
		return err
	}
	// A config.yaml that cannot be read would stop the next run: say so now.
	if _, err := config.Load(home.ConfigFile()); err != nil {
		return err
	}
	things, err := makeHome(ctx, home, o.trustDomain)
	if err != nil {
		return err
	}
	showMade(c, o.output, things)
	return nil
}

func makeHome(ctx context.Context, home config.Home, trustDomain string) ([]made, error) {
	homeMade, err := makeFolder(home.Path)
	if err != nil {
		return nil, err
	}
	authority, authorityMade, err := ca.Ensure(ctx, home.Certs(), ca.Options{TrustDomain: trustDomain})
	if err != nil {
		return nil, err
	}
	resourcesMade, err := makeFolder(home.Resources())
	if err != nil {
		return nil, err
	}
	configMade, err := makeConfig(home.ConfigFile())
	if err != nil {
		return nil, err
	}
	until := authority.Roots()[0].NotAfter.Local().Year()
	return []made{
		{"home", home.Path, homeMade, ""},
		{"authority", home.Certs(), authorityMade, "trust domain " + authority.TrustDomain() + ", until " + strconv.Itoa(until)},
		{"resources", home.Resources(), resourcesMade, note(resourcesMade, "empty")},
		{"config", home.ConfigFile(), configMade, note(configMade, "all defaults")},
	}, nil
}

func note(made bool, text string) string {
	if made {
		return text
	}
	return ""
}

func makeFolder(path string) (bool, error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return false, nil
	case err == nil:
		err = errors.New("it is a file")
	case errors.Is(err, fs.ErrNotExist):
		err = os.MkdirAll(path, 0o700)
	}
	if err != nil {
		return false, cannotMake(path, err)
	}
	return true, nil
}

func makeConfig(path string) (bool, error) {
	if _, err := os.Lstat(path); err == nil {
		return false, nil
	}
	if err := atomicfile.Write(path, config.DefaultFile(), 0o600); err != nil {
		return false, cannotMake(path, err)
	}
	return true, nil
}

func cannotMake(path string, err error) error {
	cause := err.Error()
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		cause = p.Err.Error()
		if p.Path != path {
			cause = p.Path + ": " + cause
		}
	}
	return &apperr.Error{
		Reason: apperr.OwnConfig, Err: err,
		What: path + " cannot be made", Cause: cause,
		Hint: "set PILLION_HOME to a folder of your own",
	}
}

func showMade(c *ui.Console, output string, things []made) {
	if output == "json" {
		data, err := json.MarshalIndent(things, "", "  ")
		if err == nil { // plain values always marshal
			c.Out.Line(string(data))
		}
		return
	}
	if !c.Out.TTY {
		rows := make([][]string, 0, len(things))
		for _, t := range things {
			rows = append(rows, []string{t.Thing, word(t.Made), t.Path, t.Note})
		}
		c.Out.Records(rows)
		return
	}
	table := ui.Table{NoHead: true, Columns: []ui.Column{{}, {Shrink: ui.InMiddle}, {}}}
	home := config.UserHome(c.Getenv)
	for _, t := range things {
		mark, text := ui.MarkOK, "made"
		if !t.Made {
			mark, text = ui.MarkSkipped, "kept"
		}
		if t.Note != "" {
			text += fmt.Sprintf(", %s", t.Note)
		}
		table.Rows = append(table.Rows, []ui.Cell{
			{Text: c.Out.Mark(mark) + " " + t.Thing},
			{Text: ui.Printable(human.Tilde(t.Path, home))},
			{Text: text},
		})
	}
	c.Out.Table(table)
	c.Err.Print("\n")
	c.Err.Tip("Start an app with", "pillion run --app-port 8000 -- <command>")
}

func word(isMade bool) string {
	if isMade {
		return "made"
	}
	return "kept"
}
