package cmd

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/buildinfo"
	"github.com/pillion-dev/pillion/internal/near"
)

// The groups of the root's help, by what one wants.
const (
	groupApps    = "Apps"
	groupMachine = "This machine"
	groupMore    = "More"
)

func newRootCmd(c *ui.Console) *cobra.Command {
	version := false
	root := &cobra.Command{
		Use:   "pillion",
		Short: "Give any program a place in a secure local mesh.",
		Example: `pillion run --app-id todo-api --app-port 8000 -- go run .
pillion invoke todo-api tasks -d '{"title":"Buy milk"}'
pillion logs -f`,
		Args: func(root *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(root, args[0])
			}
			return nil
		},
		RunE: func(root *cobra.Command, _ []string) error {
			if version {
				c.Out.Print(versionLine(c.Name))
				return nil
			}
			printHelp(c, root)
			return nil
		},
		SilenceErrors:         true,
		SilenceUsage:          true,
		DisableFlagsInUseLine: true,
	}
	// The library's own flag would take a template, and with those the linker
	// keeps every method of everything: a quarter of the binary.
	root.Flags().BoolVarP(&version, "version", "v", false, "version for pillion")
	root.SetOut(c.Out)
	root.SetErr(c.Err)
	root.SetIn(c.In)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { printHelp(c, cmd) })
	root.CompletionOptions.DisableDefaultCmd = true
	flagGroup{root.PersistentFlags(), "Everywhere"}.value(&colorValue{c: c}, "color", "",
		"<when> colours: auto, always or never [auto]")
	for _, group := range []string{groupApps, groupMachine, groupMore} {
		root.AddGroup(&cobra.Group{ID: group, Title: group})
	}
	add := func(group string, commands ...*cobra.Command) {
		for i, cmd := range commands {
			cmd.GroupID = group
			if cmd.Annotations == nil {
				cmd.Annotations = map[string]string{}
			}
			cmd.Annotations[noteOrder] = string(rune('a' + i))
			root.AddCommand(cmd)
		}
	}
	add(groupApps, newRunCmd(c, runSidecar), newInvokeCmd(c, newCaller), newListCmd(c), newStopCmd(c), newRestartCmd(c), newLogsCmd(c))
	add(groupMachine, newInitCmd(c), newUninstallCmd(c), newSidecarCmd(c, runSidecar))
	add(groupMore, newDocsCmd(c), newVersionCmd(c), newCompletionCmd(c))
	help := newHelpCmd(c)
	help.GroupID, help.Annotations = groupMore, map[string]string{noteOrder: "z"}
	root.SetHelpCommandGroupID(groupMore)
	root.SetHelpCommand(help)
	root.InitDefaultHelpCmd()
	if c.Name == nameDapr {
		asDapr(c, root)
	}
	dressTree(root)
	return root
}

// versionLine is what --version says.
func versionLine(name string) string {
	if name == nameDapr {
		return daprVersions()
	}
	return "pillion " + versionText(buildinfo.Read()) + "\n"
}

// dressTree gives every command what all have.
func dressTree(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	cmd.InitDefaultHelpFlag()
	if help := cmd.Flags().Lookup("help"); help != nil {
		help.Usage = "show this help"
	}
	if cmd.RunE != nil && cmd.Annotations[noteSignals] == "" {
		cmd.RunE = interruptible(cmd.RunE)
	}
	for _, sub := range cmd.Commands() {
		dressTree(sub)
	}
}

func unknownCommand(root *cobra.Command, name string) error {
	var names []string
	for _, sub := range root.Commands() {
		if !sub.Hidden {
			names = append(append(names, sub.Name()), sub.Aliases...)
		}
	}
	what := `no command "` + name + `"`
	if meant := near.Match(name, names); meant != "" {
		return usageError(what, "did you mean pillion "+meant+"?", "pillion", meant)
	}
	if strings.HasPrefix(name, ".") || strings.Contains(name, "/") {
		return usageError(what, "to start an app: pillion run -- "+name, "pillion", "run", "--", name)
	}
	return usageError(what, "pillion help lists the commands", "pillion", "help")
}

// colorValue is --color. It takes effect at once, so that a mistake further
// right is already reported in the right dress.
type colorValue struct {
	c    *ui.Console
	mode string
}

func (v *colorValue) String() string { return v.mode }
func (v *colorValue) Type() string   { return "when" }
func (v *colorValue) Set(s string) error {
	v.mode = s
	return v.c.SetColor(s)
}

// outputValue is -o. It takes effect at once, too: with JSON, errors are JSON.
type outputValue struct {
	c     *ui.Console
	value string
	known []string
}

func (v *outputValue) String() string { return v.value }
func (v *outputValue) Type() string   { return "format" }
func (v *outputValue) Set(s string) error {
	if !slices.Contains(v.known, s) {
		return notOneOf(s, v.known)
	}
	v.value = s
	v.c.JSON = s == "json"
	return nil
}
