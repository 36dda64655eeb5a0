package cmd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/buildinfo"
	"github.com/pillion-dev/pillion/internal/daprlog"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
)

// sidecarCommand is the name of daprd's stand-in, and nameDaprd the name that
// makes it of the whole program.
const (
	sidecarCommand = "sidecar"
	nameDaprd      = "daprd"
)

// sidecarOptions are what daprd answers without running.
type sidecarOptions struct {
	version, buildInfo, wait bool
	mode                     []string
}

func newSidecarCmd(c *ui.Console, run runFunc) *cobra.Command {
	var o sidecarOptions
	cmd := &cobra.Command{
		Use:   sidecarCommand + " --app-id <name> [flags]",
		Short: "Run a sidecar alone, in daprd's place",
		Long: "Run a sidecar alone, in daprd's place: daprd's flags and environment, ports, log and exit codes. " +
			"Under the name daprd, as a link or a copy, pillion is this command.",
		Example: `pillion sidecar --app-id todo-api --app-port 8000 --dapr-listen-addresses 127.0.0.1
pillion sidecar --wait --dapr-http-port 3500
ln -s pillion daprd`,
		Annotations: map[string]string{noteStatus: statusSidecar, noteSignals: "own", noteExits: exitsSidecar},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.version:
				c.Out.Line(buildinfo.DaprVersion())
				return nil
			case o.buildInfo:
				info := buildinfo.Read()
				c.Out.Line("Version: " + buildinfo.DaprVersion())
				c.Out.Line("Git Commit: " + info.Commit)
				c.Out.Line("Git Version: " + info.Version)
				return nil
			}
			d := &daprd{c: c, run: run, cmd: cmd, mode: o.mode, extra: args}
			if o.wait {
				return d.wait(cmd.Context())
			}
			return d.serve(cmd.Context())
		},
	}
	addSidecarFlags(cmd, &o)
	return cmd
}

// A daprd is one process in daprd's place.
type daprd struct {
	c     *ui.Console
	run   runFunc
	cmd   *cobra.Command
	mode  []string
	extra []string // arguments that are no flags: daprd does not look at them

	records *daprlog.Handler
	// unreadFile is why pillion's own file does not count. Daprd has none, so
	// that it is no reason not to run.
	unreadFile error
}

// errFatal ends the process with status 1; what had to be said is in the log.
var errFatal = &ui.Exit{Status: exitFailed}

// serve runs the sidecar until somebody stops it; SIGHUP begins it anew.
func (d *daprd) serve(ctx context.Context) error {
	flags := given(d.cmd)
	cfg, home, unread := d.config(flags)
	if unread != nil {
		return unread // a mistake on the command line
	}
	closeLog, err := d.openLog(cfg)
	if err != nil {
		return err
	}
	defer closeLog()
	info := buildinfo.Read()
	d.records.Say(slog.LevelInfo, "", "Starting Dapr Runtime -- version "+buildinfo.DaprVersion()+" -- commit "+info.Commit)
	d.records.Say(slog.LevelInfo, "", "Log level set to: "+daprLevel(cfg.LogLevel))
	if err := errors.Join(d.checkMode(), cfg.Validate()); err != nil {
		return d.fatal(err)
	}
	d.noteFlags(flags)
	signals := watchDaprd(d.records)
	defer signals.stop()
	for {
		restart, err := d.once(ctx, signals, cfg, home)
		if err != nil {
			return err
		}
		if !restart {
			d.records.Say(slog.LevelInfo, "", "Daprd shutdown gracefully")
			return nil
		}
		if cfg, home, err = d.config(flags); err != nil {
			return d.fatal(err)
		}
	}
}

// once runs the sidecar one time. It reports whether it was ended to be begun
// anew.
func (d *daprd) once(ctx context.Context, signals *daprdSignals, cfg config.Sidecar, home config.Home) (restart bool, err error) {
	ctx, ended := signals.during(ctx)
	exit, err := d.run(ctx, cfg, sidecar.Env{
		Own: true, Home: home, Environ: os.Environ(), Out: d.c.Out, Err: d.c.Err,
		Records: d.records, Hurry: signals.hurry,
	})
	restart = ended()
	switch {
	case err != nil && !errors.Is(err, context.Canceled):
		return false, d.fatal(err)
	case exit != 0:
		return false, &ui.Exit{Status: exit}
	}
	return restart, nil
}

// config is what daprd's command line and environment say, and what pillion's
// own file does beside them.
func (d *daprd) config(flags config.Given) (config.Sidecar, config.Home, error) {
	home, err := config.FindHome(d.c.Getenv)
	if err != nil {
		home = config.Home{} // daprd needs none: the sidecar says what follows
	}
	file := config.File{}
	if home.Path != "" {
		file, d.unreadFile = config.Load(home.ConfigFile())
	}
	cfg, unread := config.ResolveSidecar(flags, d.c.Getenv, file)
	if unread != nil {
		alone, err := config.ResolveSidecar(flags, d.c.Getenv, config.File{})
		if err == nil { // it is the file that is wrong
			cfg, d.unreadFile, unread = alone, unread, nil
		}
	}
	if dir, err := os.Getwd(); err == nil {
		cfg.Dir = dir
	}
	return cfg, home, unread
}

func (d *daprd) checkMode() error {
	for _, mode := range d.mode {
		if mode != "" && mode != "standalone" {
			return usageError("--mode "+mode+" is not in this version", "--mode standalone is what there is")
		}
	}
	return nil
}

// openLog begins Dapr's log.
func (d *daprd) openLog(cfg config.Sidecar) (closeLog func(), err error) {
	var to io.Writer = d.c.Out
	closeLog = func() {}
	if cfg.LogFile != "" {
		file, err := os.OpenFile(cfg.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, &ui.Exit{Status: exitFailed, Err: &apperr.Error{
				Reason: apperr.OwnConfig, What: "--log-file: " + cfg.LogFile + " cannot be written", Cause: err.Error(), Err: err,
			}}
		}
		to, closeLog = file, func() { _ = file.Close() } // each record was written by itself
	}
	host, _ := os.Hostname() // without one the field is empty
	d.records = daprlog.New(to, daprlog.Options{
		AppID: cfg.AppID, Instance: host, Version: buildinfo.DaprVersion(), JSON: cfg.LogAsJSON, Least: leastLevel(cfg.LogLevel),
	})
	return closeLog, nil
}

func leastLevel(level string) slog.Level {
	switch level {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return slog.LevelInfo
}

// daprLevel is the level as daprd writes it.
func daprLevel(level string) string {
	if level == "" {
		return "info"
	}
	return level
}

// noteFlags says once what was given and has no effect, or a newer name.
func (d *daprd) noteFlags(flags config.Given) {
	if names := noEffect(d.cmd, flags); len(names) > 0 {
		d.records.Say(slog.LevelInfo, "", noEffectText(names))
	}
	for _, f := range oldFlags {
		if flags[f.name] != nil {
			d.records.Say(slog.LevelWarn, "", "Flag --"+f.name+" has been deprecated, use "+f.instead)
		}
	}
	if d.unreadFile != nil {
		d.records.Say(slog.LevelWarn, "", "config.yaml does not count", slog.String("cause", d.unreadFile.Error()))
	}
	if len(d.extra) > 0 {
		d.records.Say(slog.LevelWarn, "", "arguments that are no flags are not looked at",
			slog.String("arguments", strings.Join(d.extra, " ")))
	}
}

// fatal says why there can be no sidecar, one record a mistake, and ends the
// process.
func (d *daprd) fatal(err error) error {
	for _, one := range causes(err) {
		e := apperr.From(one)
		attrs := []slog.Attr{}
		if e.Cause != "" {
			attrs = append(attrs, slog.String("cause", e.Cause))
		}
		if e.Hint != "" {
			attrs = append(attrs, slog.String("hint", e.Hint))
		}
		d.records.Say(daprlog.LevelFatal, "", "Fatal error from runtime: "+e.What, attrs...)
	}
	return errFatal
}

// causes takes joined errors apart.
func causes(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, causes(e)...)
	}
	return slices.Clip(all)
}
