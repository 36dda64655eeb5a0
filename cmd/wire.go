package cmd

import (
	"context"
	"os"
	"strings"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/instance"
	"github.com/pillion-dev/pillion/runtime/sidecar"
)

// The real things behind the functions that commands are given.

func runSidecar(ctx context.Context, cfg config.Sidecar, env sidecar.Env) (int, error) {
	return sidecar.Run(ctx, cfg, env)
}

func newCaller(ctx context.Context, home config.Home, cfg config.Sidecar) (caller, error) {
	return sidecar.NewCaller(ctx, cfg, sidecar.Env{Home: home, Environ: os.Environ()})
}

// stopInstance stops one instance. tell is given, while it lasts, who or what
// is in the way.
func stopInstance(ctx context.Context, e rundir.Entry, now bool, tell func(string)) (ended, error) {
	client := instance.Dial(e)
	client.Progress = func(p instance.Progress) { tell(inTheWay(p)) }
	how, err := client.Stop(ctx, now)
	return ended{took: how.Took, calls: how.Calls, killed: how.Killed}, err
}

// restartInstance replaces the process of one instance's app. tell is given,
// while it lasts, how far it is.
func restartInstance(ctx context.Context, e rundir.Entry, tell func(string)) (instance.Restarted, error) {
	client := instance.Dial(e)
	client.Progress = func(p instance.Progress) {
		if note := inTheWay(p); note != "" || p.State == "ready" {
			tell(note)
			return
		}
		tell(ui.Printable(p.State))
	}
	return client.Restart(ctx)
}

func inTheWay(p instance.Progress) string {
	switch {
	case len(p.Waiting) > 0 && p.Phase == instance.Signalled:
		return ui.Printable(strings.Join(p.Waiting, ", ")) + " not done yet"
	case len(p.Waiting) > 0:
		return ui.Printable(strings.Join(p.Waiting, ", "))
	case p.Calls > 0:
		return human.Count(p.Calls, "call") + " in flight"
	}
	return ""
}
