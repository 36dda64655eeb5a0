package cmd

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/sidecar"
)

// watchAll is what --watch means alone: the app's folder.
const watchAll = "."

// A runFunc runs an app with its sidecar until either ends; sidecar.Run is the
// one there is.
type runFunc func(ctx context.Context, cfg config.Sidecar, env sidecar.Env) (exit int, err error)

func newRunCmd(c *ui.Console, run runFunc) *cobra.Command {
	var runFile string
	cmd := &cobra.Command{
		Use:   "run [flags] [-- <command> [<argument>...]]",
		Short: "Run an app with its sidecar",
		Long: "Run an app with its sidecar: found by name, called over mutual TLS, its output kept. " +
			"Without a command: the sidecar alone.",
		Example: `pillion run --app-port 8000 -- uvicorn main:app
pillion run --app-id todo-api --app-port 5005  # app in a debugger
pillion run -- go test ./...                   # exits as the tests do
pillion run -f dapr.yaml                       # the apps of a run file
pillion run -f dapr.yaml -- go test ./e2e/...  # with them, then stop them`,
		Annotations: map[string]string{noteStatus: statusRun, noteSignals: "own", noteExits: exitsRun},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkWatchValue(cmd, args); err != nil {
				return err
			}
			if cmd.Flags().Changed("run-file") {
				return runStack(cmd, c, run, runFile, args)
			}
			cfg, home, err := runConfig(c, cmd, args)
			if err != nil {
				return err
			}
			return runApp(cmd.Context(), c, run, appRun{cfg: cfg, home: home})
		},
	}
	addRunFlags(cmd, &runFile)
	cmd.Flags().SetInterspersed(false) // flags end at the first word that is not one
	return cmd
}

// addRunFlags adds the flags of `dapr run`, by its names and short names, and
// our own.
func addRunFlags(cmd *cobra.Command, runFile *string) {
	app := group(cmd, "App")
	app.setting("app-id", "a", "<name> what other apps call it [the folder's name]")
	app.setting("app-port", "p", "<port> where it listens, or auto [what it opens]")
	app.setting("app-protocol", "P", "<name> http, https, h2c, grpc or grpcs [http]")
	app.setting("app-channel-address", "", "<host> the host it listens on [127.0.0.1]")
	app.setting("app-max-concurrency", "", "<n> calls it gets at once, at most [no bound]")
	app.text(runFile, "run-file", "f", "<file> several apps: dapr.yaml, its folder, or -")
	addHealthFlags(app)
	app.setting("watch", "", "<list> restart it when files change [of its folder]")
	cmd.Flags().Lookup("watch").NoOptDefVal = watchAll
	app.setting("build", "", "<line> for the shell, to build it before a start")
	app.setting("restart", "", "<when> it ends: no, on-failure or always [no]")
	app.setting("grace", "", "<time> how long it may take to stop [10s]")
	side := group(cmd, "Sidecar")
	side.setting("dapr-http-port", "H", "<port> of the HTTP API [3500 or a free one]")
	side.setting("dapr-grpc-port", "G", "<port> of the gRPC API [50001 or a free one]")
	side.setting("allowed-origins", "", "<list> web origins that may call it, by commas")
	side.setting("allowed-hosts", "", "<list> host names it is called by, by commas")
	side.toggle("allow-other-users", "other users of this machine may call it")
	side.toggle("enable-api-logging", "a line for each call through it")
	side.setting("read-buffer-size", "", "<size> of a request's head, at most [64Ki]")
	side.setting("max-body-size", "", "<size> of a request's body, at most [state: 4Mi]")
	side.setting("metrics-port", "M", "<port> of the metrics, for this machine [none]")
	side.toggle("enable-profiling", "pprof profiles, for this machine only")
	side.setting("profile-port", "", "<port> of the profiles [7777 or a free one]")
	side.setting("log-level", "", "<level> debug, info, warn or error [info]")
	side.setting("resources-path", "", "<dir> Dapr resources [~/.pillion/resources]")
	side.setting("config", "c", "<file> Dapr configuration")
	side.setting("state", "", "<file> of the state store [~/.pillion/state.db]")
	mesh := group(cmd, "Mesh")
	mesh.setting("namespace", "n", "<name> the group of apps it belongs to [default]")
	mesh.setting("discovery", "", "<list> where to look: local, mdns, static [all]")
	mesh.setting("peer", "", "<peer> a static peer, as [app-id=]host:port")
	mesh.toggle("lan", "find and be found on the local network")
	mesh.setting("dapr-internal-grpc-port", "I", "<port> of the mesh [a stable one]")
	mesh.setting("resolve-timeout", "", "<time> to look for an unknown name [1s]")
	mesh.setting("hold", "", "<time> to wait for a known app [10s]")
	mesh.setting("start-hold", "", "<time> to wait for a first start [60s]")
	addDaprFlags(cmd)
}

// checkWatchValue finds the value of --watch that stands behind a blank, where
// it would be the command.
func checkWatchValue(cmd *cobra.Command, args []string) error {
	if !slices.Equal(given(cmd)["watch"], []string{watchAll}) || cmd.ArgsLenAtDash() >= 0 || len(args) == 0 {
		return nil
	}
	_, noCommand := exec.LookPath(args[0])
	if info, err := os.Stat(args[0]); err == nil && info.IsDir() || noCommand != nil && len(args) > 1 && args[1] == "--" {
		return usageError("--watch: its value follows an equals sign, and "+strconv.Quote(args[0])+" a blank",
			"did you mean --watch="+args[0]+"?")
	}
	return nil
}

// addHealthFlags adds those of the app's health.
func addHealthFlags(app flagGroup) {
	app.toggle("enable-app-health-check", "ask it whether it is well")
	app.setting("app-health-check-path", "", "<path> to ask at [/healthz]")
	app.setting("app-health-probe-interval", "", "<seconds> between two questions [5]")
	app.setting("app-health-probe-timeout", "", "<ms> to answer [500]")
	app.setting("app-health-threshold", "", "<n> failures that make it unhealthy [3]")
}

// addDaprFlags adds the flags of `dapr run` that scripts may give: old forms of
// others, and those without a meaning here.
func addDaprFlags(cmd *cobra.Command) {
	old := group(cmd, "Old")
	old.setting("components-path", "d", "<dir> old name of --resources-path")
	old.toggle("app-ssl", "old form of --app-protocol https")
	old.setting("engine", "", "<name> who speaks HTTP: fast, or the Go library's standard [fast]")
	for _, name := range []string{"components-path", "app-ssl", "engine"} {
		cmd.Flags().Lookup(name).Hidden = true
	}
	none := group(cmd, groupNone)
	for _, f := range []struct{ name, short string }{
		{"dapr-listen-addresses", ""},
		{"unix-domain-socket", "u"},
		{"placement-host-address", ""},
		{"scheduler-host-address", ""},
		{"runtime-path", ""},
	} {
		none.texts(new([]string), f.name, f.short, "<value> taken from dapr run, no effect here")
	}
	for _, name := range []string{"log-as-json"} {
		none.on(new(bool), name, "", "taken from dapr run, no effect here")
	}
	none.on(new(bool), "kubernetes", "k", "taken from dapr run, no effect here")
}

// noEffect are the flags given that have no effect here.
func noEffect(cmd *cobra.Command, given config.Given) []string {
	var out []string
	for name := range given {
		f := cmd.Flags().Lookup(name)
		if f != nil && len(f.Annotations[noteGroup]) > 0 && f.Annotations[noteGroup][0] == groupNone {
			out = append(out, "--"+name)
		}
	}
	return out
}

// runConfig is what the command line, the environment and config.yaml say
// together, judged as a whole: every mistake is in the error.
func runConfig(c *ui.Console, cmd *cobra.Command, args []string) (config.Sidecar, config.Home, error) {
	home, err := config.FindHome(c.Getenv)
	if err != nil {
		return config.Sidecar{}, home, err
	}
	file, err := config.Load(home.ConfigFile())
	if err != nil {
		return config.Sidecar{}, home, err
	}
	flags := given(cmd)
	if len(args) == 0 && flags["app-id"] == nil && flags["app-port"] == nil {
		return config.Sidecar{}, home, usageError("there is no command to run",
			"pillion run -- <command>, or --app-id <name> for a sidecar alone")
	}
	cfg, unread := config.Resolve(flags, c.Getenv, file)
	cfg.SetCommand(args, flags)
	if err := nameApp(&cfg); err != nil {
		return cfg, home, err
	}
	if err := errors.Join(unread, cfg.Validate()); err != nil {
		return cfg, home, err
	}
	if names := noEffect(cmd, flags); len(names) > 0 {
		c.Err.Say(ui.NoMark, noEffectText(names))
	}
	if cfg.Derived {
		c.Err.Say(ui.NoMark, "app ID is "+c.Err.Paint(ui.ToneStrong, cfg.AppID)+
			", from the folder's name (--app-id to change)")
	}
	return cfg, home, nil
}

// nameApp fills in the folder, and the app ID where nobody chose one.
func nameApp(cfg *config.Sidecar) error {
	dir, err := os.Getwd()
	if err != nil {
		return &apperr.Error{
			Reason: apperr.OwnConfig, Err: err,
			What: "the working folder cannot be found", Cause: err.Error(),
			Hint: "change to a folder that exists",
		}
	}
	cfg.Dir = dir
	if cfg.AppID == "" {
		cfg.AppID, cfg.Derived = config.DeriveAppID(dir), true
	}
	return nil
}

// appRun is what is run.
type appRun struct {
	cfg  config.Sidecar
	home config.Home
}

// runApp runs the app with the terminal as it is: the app's bytes untouched,
// our lines between them.
func runApp(ctx context.Context, c *ui.Console, run runFunc, r appRun) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	theatre := newTheatre(c)
	if c.Name == nameDapr {
		theatre.up = upAndRunning(len(r.cfg.Command) > 0)
	}
	hurry, stop := stopSignals(cancel, theatre.echoed, func() bool { return false })
	defer stop()
	exit, err := run(ctx, r.cfg, sidecar.Env{
		Own:      true,
		Job:      true,
		Home:     r.home,
		Environ:  os.Environ(),
		In:       c.In,
		Out:      theatre.out,
		Err:      theatre.err,
		Terminal: theatre.terminal,
		Say:      theatre.say,
		Hurry:    hurry,
	})
	theatre.close()
	if err != nil {
		return err
	}
	return &ui.Exit{Status: exit}
}

// stopSignals makes the first signal call cancel and the second one close
// hurry, as does the first where it is stopping already. The way out is the same
// for both. stop ends the watching and waits for it.
func stopSignals(cancel, echoed func(), stopping func() bool) (hurry <-chan struct{}, stop func()) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup means it
		signal.Notify(signals, syscall.SIGHUP)
	}
	quick, ended := make(chan struct{}), make(chan struct{})
	hasten := sync.OnceFunc(func() { close(quick) })
	asked := false
	heard := func(s os.Signal) {
		if s == syscall.SIGINT {
			echoed()
		}
		if asked || stopping() {
			hasten()
		} else {
			cancel()
		}
		asked = true
	}
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-ended:
				return
			case s := <-signals:
				heard(s)
			}
		}
	})
	return quick, func() {
		signal.Stop(signals)
		close(ended)
		watching.Wait()
	}
}

// A theatre is where an app's output and our few lines meet.
type theatre struct {
	out, err io.Writer
	terminal *os.File // ours, if both outputs are the same terminal
	printer  *ui.Printer
	stages   []*ui.Stage
	plain    *ui.Printer // rows of ours among the app's output
	up       string      // said there once the app is ready; "" says nothing
}

// newTheatre shares each terminal between the app and us; files and pipes get
// the app's bytes as they come.
func newTheatre(c *ui.Console) *theatre {
	out, err := c.Out.File(), c.Err.File()
	t := &theatre{out: c.Out, err: c.Err, printer: c.Err, plain: c.Out}
	if !c.Err.Terminal() {
		return t // our lines go into a file: nothing to share
	}
	stage := ui.NewStage(err)
	t.stages = append(t.stages, stage)
	t.printer = c.Err.Through(stage.Ours())
	t.err = stage.App()
	if c.Out.Terminal() && sameFile(out, err) {
		t.out, t.terminal, t.plain = stage.App(), out, t.printer
	}
	return t
}

func sameFile(a, b *os.File) bool {
	x, errX := a.Stat()
	y, errY := b.Stat()
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func (t *theatre) echoed() {
	for _, s := range t.stages {
		s.Echoed()
	}
}

func (t *theatre) close() {
	for _, s := range t.stages {
		_ = s.Close() // a terminal that is gone is nobody's to tell
	}
}

// say dresses a line of the sidecar's for this stream.
func (t *theatre) say(n sidecar.Notice) {
	if n.Up && t.up != "" {
		defer t.plain.Line(t.up)
	}
	if n.Kind == sidecar.Warning {
		t.printer.Warn(&apperr.Error{What: joinFacts(n), Cause: n.Cause, Hint: n.Hint})
		return
	}
	mark := ui.NoMark
	switch n.Kind {
	case sidecar.Good:
		mark = ui.MarkOK
	case sidecar.Failed:
		mark = ui.MarkFailed
	case sidecar.Info, sidecar.Warning:
	}
	facts := append([]string{ui.Printable(n.Text)}, n.Facts...)
	t.printer.SayMore(mark, append(facts, n.Aside), n.More)
	if n.Cause != "" {
		t.printer.Cause(n.Cause)
	}
	if len(n.Lines) > 0 {
		t.printer.Quote(n.Lines)
	}
	if n.Hint != "" {
		t.printer.Hint(n.Hint)
	}
}

func joinFacts(n sidecar.Notice) string {
	facts := slices.Concat([]string{n.Text}, n.Facts, n.More)
	return strings.Join(facts, ", ")
}
