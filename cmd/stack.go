package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
	"github.com/pillion-dev/pillion/runtime/stack"
)

// forAll are the flags that are said of every app of a run file. Those that
// `dapr run` has it ignores beside -f, and so do we.
var forAll = []string{
	"namespace", "discovery", "peer", "lan", "resolve-timeout", "hold", "start-hold", "grace", "state",
	"allowed-origins", "allowed-hosts", "allow-other-users", "watch", "restart",
}

// besideFile are the other flags that may be given with -f without a word.
var besideFile = []string{"run-file", "color", "help", "runtime-path", "log-as-json"}

// commandSuffix makes the command's app ID of the run file's name.
const commandSuffix = "-command"

// A stackPlan is what a run file and the command line say together.
type stackPlan struct {
	file    config.Stack
	home    config.Home
	command *config.Sidecar // nil: none
}

// runStack runs the apps of a run file.
func runStack(cmd *cobra.Command, c *ui.Console, run runFunc, path string, args []string) error {
	failed := exitFailed // as dapr's
	if len(args) > 0 {
		failed = runFailed // any other status is the command's
	}
	plan, err := planStack(c, cmd, path, args)
	if err != nil {
		return &ui.Exit{Status: failed, Err: err}
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	s := newStackStage(c, plan)
	hurry, stop := stopSignals(cancel, s.echoed, s.isStopping)
	defer stop()
	result := stack.Run(ctx, s.stack(hurry, run))
	s.close()
	return s.verdict(result)
}

// planStack reads the file and says what of it, and of the command line, does
// not count.
func planStack(c *ui.Console, cmd *cobra.Command, path string, args []string) (stackPlan, error) {
	home, err := config.FindHome(c.Getenv)
	if err != nil {
		return stackPlan{}, err
	}
	settings, err := config.Load(home.ConfigFile())
	if err != nil {
		return stackPlan{}, err
	}
	flags := given(cmd)
	if flags["kubernetes"] != nil {
		return stackPlan{}, usageError("-k would deploy "+path+" to Kubernetes, which this version cannot", "leave it out to run the apps here")
	}
	all := config.Given{}
	var ignored []string
	for name, values := range flags {
		switch {
		case slices.Contains(forAll, name):
			all[name] = values
		case name == "app-id" && len(args) > 0, slices.Contains(besideFile, name):
		default:
			ignored = append(ignored, "--"+name)
		}
	}
	src := config.StackSource{Path: path, In: c.In, Given: all, Getenv: c.Getenv, File: settings}
	file, err := config.LoadStack(src)
	for _, w := range file.Warnings {
		c.Err.Warn(w)
	}
	if err != nil {
		return stackPlan{}, err
	}
	if len(ignored) > 0 {
		slices.Sort(ignored)
		c.Err.Warn(&apperr.Error{
			What: "not used beside -f: " + strings.Join(ignored, ", "),
			Hint: "say it in " + file.Title,
		})
	}
	for _, name := range []string{"runtime-path", "log-as-json"} {
		if flags[name] != nil {
			file.NoEffect = append(file.NoEffect, "--"+name)
		}
	}
	if len(file.NoEffect) > 0 {
		c.Err.Say(ui.NoMark, noEffectText(file.NoEffect))
	}
	plan := stackPlan{file: file, home: home}
	if len(args) > 0 {
		plan.command, err = commandConfig(file, src, flags["app-id"], args)
	}
	return plan, err
}

// commandConfig is the command as one more app of the stack.
func commandConfig(file config.Stack, src config.StackSource, appID, args []string) (*config.Sidecar, error) {
	cfg, unread := config.Resolve(src.Given, src.Getenv, src.File)
	cfg.SetCommand(nil, nil) // it runs once: what is said of the apps is not said of it
	cfg.Command, cfg.AppID = args, strings.Join(appID, "")
	if cfg.AppID == "" {
		const most = 63
		id := file.ID()
		cfg.AppID = id[:min(len(id), most-len(commandSuffix))] + commandSuffix
	}
	cfg.RunFile, cfg.RunName, cfg.Spared = file.Path, file.Name, file.Ports()
	var err error
	if cfg.Dir, err = os.Getwd(); err != nil {
		return nil, err
	}
	for _, app := range file.Apps {
		if app.AppID == cfg.AppID {
			return nil, usageError("the command would be called "+cfg.AppID+", as one of the apps", "give it another name with --app-id")
		}
	}
	return &cfg, errors.Join(unread, cfg.Validate())
}

// stackNames are the apps' names, each its own: instances of one app are
// numbered.
func stackNames(apps []config.StackApp) []string {
	count, seen := map[string]int{}, map[string]int{}
	for _, a := range apps {
		count[a.AppID]++
	}
	names := make([]string, len(apps))
	for i, a := range apps {
		names[i] = a.AppID
		if count[a.AppID] > 1 {
			seen[a.AppID]++
			names[i] = fmt.Sprintf("%s/%d", a.AppID, seen[a.AppID])
		}
	}
	return names
}

// commandEnv is what the command gets: the terminal, as the app of a single run
// has it.
func (s *stackStage) commandEnv(hurry <-chan struct{}) sidecar.Env {
	return sidecar.Env{
		Job: true, Home: s.plan.home, Environ: os.Environ(), In: s.c.In,
		Out: s.theatre.out, Err: s.theatre.err, Terminal: s.theatre.terminal,
		Say: s.sayOfCommand, Hurry: hurry,
	}
}

// title is the file as people know it: its last part.
func (p stackPlan) title() string { return filepath.Base(p.file.Title) }
