// Package cmd is the command line: a file a command. Each parses, calls one
// thing below, and renders the answer.
package cmd

import (
	"context"
	"errors"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
)

// Exit statuses of `pillion run` that are its own, as env, timeout and docker
// have them.
const (
	exitFailed = 1
	exitUsage  = 2

	runFailed        = 125
	runNotExecutable = 126
	runNotFound      = 127
)

// OS returns the process's own streams and environment, for Main.
func OS() ui.Streams { return ui.OS() }

// Main runs the command line and returns the process's exit status.
// It is main without the exit, so a test may call it.
func Main(args []string, std ui.Streams) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := ui.NewConsole(std)
	root := newRootCmd(c)
	root.SetArgs(append([]string{}, argsOf(c.Name, args)...)) // nil would mean os.Args
	ran, err := root.ExecuteContextC(ctx)
	return c.Report(withStatus(ran, err))
}

// Keys of cobra's annotations on our commands.
const (
	noteStatus  = "status"  // which exit statuses the command has
	noteSignals = "signals" // "own": it handles Ctrl-C itself
	noteExits   = "exits"   // rows of its help
	noteOrder   = "order"   // of a command in the root's help
	noteUnsaid  = "unsaid"  // why the root's help does not say it
	noteGroup   = "group"   // of a flag
)

// Values of noteStatus.
const (
	statusRun    = "run"
	statusInvoke = "invoke"

	statusSidecar = "sidecar"
)

// withStatus is the one switch from an error to an exit status, by command.
func withStatus(ran *cobra.Command, err error) error {
	var exit *ui.Exit
	if err == nil || errors.As(err, &exit) || ran == nil {
		return err
	}
	status := apperr.From(err).Reason.ExitStatus()
	if errors.Is(err, context.Canceled) {
		status = ui.Interrupted
	}
	switch ran.Annotations[noteStatus] {
	case statusInvoke:
	case statusSidecar:
		if status != exitUsage {
			status = exitFailed
		}
	case statusRun:
		if status != runNotFound && status != runNotExecutable && status != ui.Interrupted {
			status = runFailed
		}
	default:
		if status > 3 && status != ui.Interrupted {
			status = exitFailed // the hops' statuses are invoke's alone
		}
	}
	return &ui.Exit{Status: status, Err: err}
}

// interruptible makes the first Ctrl-C end ctx and the second one the process.
func interruptible(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, stop)
		c.SetContext(ctx)
		return run(c, args)
	}
}
