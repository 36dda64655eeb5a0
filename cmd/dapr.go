package cmd

import (
	"encoding/json"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/buildinfo"
)

// nameDapr is the name under which our command line takes Dapr's.
const nameDapr = "dapr"

// asDapr makes the root answer Dapr's command line: its commands, those that
// are not here with what to do in their place, and its spellings of flags.
func asDapr(c *ui.Console, root *cobra.Command) {
	root.Use = nameDapr
	group := flagGroup{root.PersistentFlags(), "Everywhere"}
	group.on(new(bool), "log-as-json", "", "taken from dapr, no effect here")
	group.texts(new([]string), "runtime-path", "", "<dir> taken from dapr, no effect here")
	hide(root, "log-as-json", "runtime-path")
	for _, sub := range root.Commands() {
		switch sub.Name() {
		case "version":
			daprVersion(c, sub)
		case "invoke":
			takeUnused(sub, "unix-domain-socket:u")
			saying(c, sub, "App invoked successfully")
		case "init":
			takeUnused(sub, "runtime-version", "from-dir", "image-registry", "image-variant", "network", "container-runtime",
				"scheduler-volume", "scheduler-override-broadcast-host-port", "slim:s!", "redis-stack!")
		case "uninstall":
			takeUnused(sub, "network", "container-runtime")
			uninstallAsDapr(c, sub)
		case "logs":
			logsOfDapr(sub)
		}
		noCluster(sub)
	}
	for _, missing := range notHere {
		root.AddCommand(missing.command())
	}
	root.AddCommand(buildInfoCmd(c))
}

func daprVersions() string {
	return "CLI version: " + buildinfo.DaprVersion() + " \nRuntime version: " + buildinfo.DaprVersion() + "\n"
}

// daprVersion has `dapr version` say what tools read of it.
func daprVersion(c *ui.Console, cmd *cobra.Command) {
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flag("output").Value.String() != "json" {
			c.Out.Print(daprVersions())
			return nil
		}
		data, err := json.Marshal(struct {
			CLI     string `json:"Cli version"`
			Runtime string `json:"Runtime version"`
		}{buildinfo.DaprVersion(), buildinfo.DaprVersion()})
		if err == nil {
			c.Out.Line(string(data))
		}
		return err
	}
}

func buildInfoCmd(c *ui.Console) *cobra.Command {
	return &cobra.Command{
		Use: "build-info", Short: "Show which pillion this is", Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			info := buildinfo.Read()
			for _, part := range []string{"CLI", "Runtime"} {
				c.Out.Line(part + ":\n\tVersion: " + buildinfo.DaprVersion() + "\n\tGit Commit: " + info.Commit + "\n\tGit Version: " + info.Version)
			}
			return nil
		},
	}
}

// upAndRunning is what Dapr's run ends a start with. Editors wait for it.
func upAndRunning(hasApp bool) string {
	if hasApp {
		return "You're up and running! Both Dapr and your app logs will appear here."
	}
	return "You're up and running! Dapr logs will appear here."
}

// takeUnused adds flags that Dapr's command has and that mean nothing here, by
// name: a letter behind a colon is its short name, ! says that it takes no
// value.
func takeUnused(cmd *cobra.Command, flags ...string) {
	g := flagGroup{cmd.Flags(), groupNone}
	for _, f := range flags {
		name, short, toggle := unused(f)
		if toggle {
			g.on(new(bool), name, short, "taken from dapr, no effect here")
		} else {
			g.texts(new([]string), name, short, "<value> taken from dapr, no effect here")
		}
		hide(cmd, name)
	}
}

func unused(f string) (name, short string, toggle bool) {
	if f[len(f)-1] == '!' {
		toggle, f = true, f[:len(f)-1]
	}
	if at := len(f) - 2; f[at] == ':' {
		return f[:at], f[at+1:], toggle
	}
	return f, "", toggle
}

func hide(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		for _, set := range []*cobra.Command{cmd, cmd.Root()} {
			if f := set.Flag(name); f != nil {
				f.Hidden = true
			}
		}
	}
}

// saying says a sentence once a command has done its work.
func saying(c *ui.Console, cmd *cobra.Command, sentence string) {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if err == nil {
			c.Err.Say(ui.MarkOK, sentence)
		}
		return err
	}
}

// uninstallAsDapr has `dapr uninstall` remove what is kept only with --all, and
// then without a question, as Dapr does.
func uninstallAsDapr(c *ui.Console, cmd *cobra.Command) {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flags().Changed("all") {
			c.Err.Say(ui.NoMark, "there are no containers to remove; --all removes what pillion keeps")
			return nil
		}
		if err := cmd.Flags().Set("yes", "true"); err != nil {
			return err
		}
		return run(cmd, args)
	}
}

// logsOfDapr takes the app of `dapr logs` as Dapr does.
func logsOfDapr(cmd *cobra.Command) {
	var apps []string
	g := flagGroup{cmd.Flags(), groupNone}
	g.texts(&apps, "app-id", "a", "<name> the app")
	hide(cmd, "app-id")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return run(cmd, slices.Concat(apps, args))
	}
}

// noCluster takes -k and says that there is no cluster.
func noCluster(cmd *cobra.Command) {
	if cmd.Flags().Lookup("kubernetes") == nil && cmd.Flags().ShorthandLookup("k") == nil {
		g := flagGroup{cmd.Flags(), groupNone}
		g.on(new(bool), "kubernetes", "k", "of a cluster, not in this version")
		hide(cmd, "kubernetes")
	}
	run := cmd.RunE
	if run == nil {
		return
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("kubernetes") {
			return absent{"-k", "Kubernetes is not in this version", "leave out -k for the apps of this machine"}.problem()
		}
		return run(cmd, args)
	}
}

// absent is something of Dapr's that is not here: why, and what to do in its
// place.
type absent struct{ name, why, instead string }

// notHere are the commands of Dapr's that we lack.
var notHere = []absent{
	{"publish", "there is no pub/sub in this version", "call the subscriber by name: dapr invoke --app-id <app> --method <route> --data …"},
	{"dashboard", "there is no dashboard", "dapr list shows what runs, dapr logs -f what it says"},
	{"status", "nothing runs in the background whose status could be asked for", "dapr list shows what runs"},
	{"components", "it shows the components of a cluster", "those of this machine are the files of --resources-path, or else in ~/.pillion/resources"},
	{"configurations", "it shows the configurations of a cluster", "those of this machine are the files of --config"},
	{"mcpservers", "there are no MCP servers in this version", ""},
	{"mtls", "it speaks of a cluster", "apps that run here have mutual TLS, with certificates that renew themselves; dapr list shows until when"},
	{"annotate", "it is for Kubernetes, which is not in this version", ""},
	{"upgrade", "it is for Kubernetes; here there is one binary and nothing else", "replace the binary"},
	{"scheduler", "there are no jobs and no actors in this version", ""},
	{"workflow", "there are no workflows in this version", ""},
}

func (a absent) problem() error {
	return &apperr.Error{Reason: apperr.OwnConfig, What: "dapr " + a.name + " is not in pillion", Cause: a.why, Hint: a.instead}
}

func (a absent) command() *cobra.Command {
	cmd := &cobra.Command{
		Use: a.name, Short: a.why, Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error { return a.problem() },
	}
	switch a.name {
	case "scheduler":
		cmd.Aliases = []string{"sched"}
	case "workflow":
		cmd.Aliases = []string{"wf"}
	}
	return cmd
}
